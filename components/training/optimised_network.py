"""A network in training with its optimiser: the codec is one, and so is each of its discriminators."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..codecs.discriminator import Discriminator
from .config import OptimizerName
from .soap import Soap
from .state import Tensors, optimizer_tensors, restore_optimizer, tensors_under

_OPTIMIZERS: dict[OptimizerName, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "soap": Soap,
}


class OptimisedNetwork:
    """A network and its optimiser.

    `network` is the module itself. `model` is the module as Fabric wraps it, for forward passes in the run's precision.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        optimizer: OptimizerName,
        clip_norm: float,
        learning_rate_factor: float,
        saved: Tensors,
        *,
        compiled: bool = False,
    ):
        """Wrap `network`, and resume its training where `saved` holds tensors.

        Args:
            fabric: Lightning Fabric on this rank's device.
            network: trained in place.
            optimizer: "adam", "soap", or "sgd" with momentum 0.9.
            clip_norm: largest norm of the gradient.
            learning_rate_factor: factor between the run's learning rate and that of this network.
            saved: `tensors()` of the same network in an earlier process; empty for a new training.
            compiled: compile the forward pass of `model` with torch.compile; `network` stays as it is.
        """
        if saved:
            network.load_state_dict(tensors_under("model", saved))
        torch_optimizer = _OPTIMIZERS[optimizer](network.parameters())
        if saved:
            restore_optimizer(torch_optimizer, tensors_under("optimizer", saved))
        self._fabric, self._clip_norm, self._learning_rate_factor = fabric, clip_norm, learning_rate_factor
        self.network = network
        # Integer tables are not trained, and gloo cannot broadcast all of their types.
        constant = [name for name, buffer in network.named_buffers() if not buffer.is_floating_point()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, constant)  # type: ignore[no-untyped-call]
        # Fabric unwraps the compiled module, wraps the network and compiles the result. `fallback_random` draws the
        # noise of the uncompiled pass.
        forward = torch.compile(network, options={"fallback_random": True}) if compiled else network
        self.model, self.optimizer = fabric.setup(forward, torch_optimizer)
        if isinstance(network, Discriminator):
            self.model.mark_forward_method("loss")

    def step(self, loss: Tensor) -> Tensor:
        """Take one optimiser step down the clipped gradient of `loss`.

        Returns:
            The norm of the gradient before it was clipped, a scalar. Only a step with a norm that is not finite can
            leave weights that are not.
        """
        self._fabric.backward(loss)
        norm: Tensor = self._fabric.clip_gradients(
            self.model, self.optimizer, max_norm=self._clip_norm, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate to `value`, the run's rate, times the ratio of this network."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate_factor * value

    def is_finite(self) -> bool:
        """Whether all weights are finite, and all buffers."""
        tensors = (*self.network.parameters(), *self.network.buffers())  # `state_dict` would compute coding tables
        return all(bool(tensor.isfinite().all()) for tensor in tensors)

    def restart_from(self, weights: Tensors) -> None:
        """Replace the weights, and clear the optimiser's moments."""
        self.network.load_state_dict(weights)
        self.optimizer.optimizer.state.clear()

    def tensors(self) -> Tensors:
        """The weights and the optimiser's state by name, as `saved` takes them."""
        parts = {"model": self.network.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        return {f"{part}/{key}": value for part, tensors in parts.items() for key, value in tensors.items()}


def weights_of(network: nn.Module) -> Tensors:
    """A copy of a network's weights in main memory."""
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
