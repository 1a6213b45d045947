"""Those who train together, the codec and what trains against it: each a network with an optimiser of its own."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from components.codecs.discriminator import Discriminator
from components.training.config import OptimizerName
from components.training.state import Tensors, optimizer_tensors, restore_optimizer, under

_OPTIMIZERS: dict[OptimizerName, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


class OptimisedNetwork:
    """A network in training. `model` is what Fabric makes of it, for forward passes in the run's precision.

    optimizer: "adam", or "sgd" with momentum 0.9. pace: what learning rates are multiplied by.
    kept: what `tensors` gave of the same player, to go on from; empty to start.
    compiled: whether torch.compile makes the forward pass of `model`; `network` stays as it is.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        optimizer: OptimizerName,
        clip_norm: float,
        pace: float,
        kept: Tensors,
        *,
        compiled: bool = False,
    ):
        if kept:
            network.load_state_dict(under("model", kept))
        made = _OPTIMIZERS[optimizer](network.parameters())
        if kept:
            restore_optimizer(made, under("optimizer", kept))
        self._fabric, self._clip_norm, self._pace = fabric, clip_norm, pace
        self.network = network
        # Tables in integers are not trained, and gloo cannot send every kind of them to the other ranks.
        constant = [name for name, buffer in network.named_buffers() if not buffer.is_floating_point()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, constant)  # type: ignore[no-untyped-call]
        # Fabric takes it off and compiles what it wraps the network in. Noise is drawn as it is without.
        forward = torch.compile(network, options={"fallback_random": True}) if compiled else network
        self.model, self.optimizer = fabric.setup(forward, made)
        if isinstance(network, Discriminator):
            self.model.mark_forward_method("loss")

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser."""
        self._fabric.backward(loss)
        self._fabric.clip_gradients(self.model, self.optimizer, max_norm=self._clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def set_learning_rate(self, value: float) -> None:
        """That of the run."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._pace * value

    def forget(self) -> None:
        """The optimiser's moments."""
        self.optimizer.optimizer.state.clear()

    def tensors(self) -> Tensors:
        """Its weights and the optimiser's state, flat."""
        parts = {"model": self.network.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        return {f"{part}/{key}": value for part, tensors in parts.items() for key, value in tensors.items()}
