"""The processes that train one codec together; each is a rank that takes a part of every batch."""

import os
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import distributed

T = TypeVar("T")


class ProcessGroup:
    """This process's rank among the processes that train together, and collective operations over all ranks.

    RANK, WORLD_SIZE and LOCAL_RANK define the rank, as torchrun and Ray set them; without them there is one rank.
    Several ranks connect at MASTER_ADDR and MASTER_PORT, over NCCL on GPUs and gloo on CPUs. Every rank must call the
    collective operations `sum`, `any` and `broadcast` in the same order. torch raises its own errors where another rank
    is missing.

    rank: number of this process. ranks: how many there are. device: the device of this rank.
    """

    def __init__(self) -> None:
        self.rank, self.ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        if self.ranks > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    def fabric(self, precision: str) -> Fabric:
        """Set up Lightning Fabric on this rank's device; with several ranks it averages their gradients (DDP).

        precision: "32-true" or "bf16-mixed".
        """
        devices = 1 if self.device.index is None else [self.device.index]
        if self.ranks == 1:
            return Fabric(accelerator=self.device.type, devices=devices, precision=precision)
        strategy = DDPStrategy(cluster_environment=_ExistingProcessGroup(self))
        fabric = Fabric(accelerator=self.device.type, devices=devices, precision=precision, strategy=strategy)
        fabric.launch()
        return fabric

    def sum(self, *values: float) -> list[float]:
        """Sum each of `values` over the ranks."""
        if self.ranks == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(together)
        return [float(value) for value in together]

    def any(self, value: bool) -> bool:
        """Return whether `value` is true on at least one rank."""
        return self.sum(value)[0] > 0

    def broadcast(self, value: T) -> T:
        """Return the `value` of rank 0."""
        if self.ranks == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, 0, device=self.device)
        return box[0]


class _ExistingProcessGroup(ClusterEnvironment):  # type: ignore[misc]
    """Gives Fabric the ranks that are connected already; its own count assumes equally many on every machine."""

    def __init__(self, process_group: ProcessGroup):
        super().__init__()
        self._process_group = process_group

    creates_processes_externally = True
    main_address = main_port = None  # the ranks are connected

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._process_group.ranks

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._process_group.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return 0  # index among the devices that Fabric was given, of which there is one

    def node_rank(self) -> int:
        return 0
