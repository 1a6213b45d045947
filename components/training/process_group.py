"""The processes that train one codec together, each a rank with a part of every batch."""

import os
from typing import TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import distributed

T = TypeVar("T")


class ProcessGroup:
    """Who this process is among those that train together, as RANK, WORLD_SIZE and LOCAL_RANK have it.

    These are what torchrun and Ray set; without them it is alone. MASTER_ADDR and MASTER_PORT say where ranks meet,
    over NCCL on GPUs and gloo elsewhere. Raises torch's errors where the others do not come.
    """

    def __init__(self) -> None:
        self.rank, self.ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        if self.ranks > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    def fabric(self, precision: str) -> Fabric:
        """Fabric on this rank's device; with several ranks it averages their gradients (DDP)."""
        devices = 1 if self.device.index is None else [self.device.index]
        if self.ranks == 1:
            return Fabric(accelerator=self.device.type, devices=devices, precision=precision)
        strategy = DDPStrategy(cluster_environment=_Given(self))
        fabric = Fabric(accelerator=self.device.type, devices=devices, precision=precision, strategy=strategy)
        fabric.launch()
        return fabric

    def sum(self, *values: float) -> list[float]:
        """Each of `values` summed over the ranks, all of which ask at once."""
        if self.ranks == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(together)
        return [float(value) for value in together]

    def any(self, value: bool) -> bool:
        """Whether one of the ranks, all of which ask at once, has True."""
        return self.sum(value)[0] > 0

    def broadcast(self, value: T) -> T:
        """What rank 0 has as `value`."""
        if self.ranks == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, 0, device=self.device)
        return box[0]


class _Given(ClusterEnvironment):  # type: ignore[misc]
    """A group for Fabric, which otherwise counts ranks itself, and the same number on every machine."""

    def __init__(self, group: ProcessGroup):
        super().__init__()
        self._team = group

    creates_processes_externally = True
    main_address = main_port = None  # the ranks have met

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._team.ranks

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._team.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return 0  # of the devices that Fabric is given, which is one

    def node_rank(self) -> int:
        return 0
