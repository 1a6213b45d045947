"""The weights that a training returns to after a divergence: those of the best validation, else the initial ones."""

from collections.abc import Sequence

from torch import nn

from .optimised_network import OptimisedNetwork, weights_of
from .state import Tensors, TrainingState, tensors_under


class BestWeights:
    """Best weights of the codec (network 0) and its discriminators (from 1 on), in the training state.

    Initial weights stand in for a network that has no best ones yet. They are not saved: a resumed training begins with
    the same ones, before it loads the weights of its state.
    """

    def __init__(self, state: TrainingState, networks: Sequence[nn.Module]):
        """Copy the initial weights that may be needed.

        Args:
            state: the training state, in which best weights are kept.
            networks: the codec and its discriminators, with their initial weights.
        """
        self._state = state
        self._initial = {
            number: weights_of(network) for number, network in enumerate(networks) if not self._best(number)
        }

    def keep(self, networks: Sequence[OptimisedNetwork]) -> None:
        """Keep a copy of the codec's weights, and of the discriminators' unless they are not finite."""
        codec, *discriminators = networks
        self._state.best = weights_of(codec.network)
        self._initial.pop(0, None)
        for number, discriminator in enumerate(discriminators, start=1):
            if discriminator.is_finite():
                weights = weights_of(discriminator.network)
                self._state.best_discriminators |= {f"{number}/{key}": value for key, value in weights.items()}
                self._initial.pop(number, None)

    def to_restore(self, networks: Sequence[OptimisedNetwork]) -> dict[int, Tensors]:
        """The weights to return to, by network: the codec's, and those of discriminators that are not finite."""
        needed = [0, *(number for number, network in enumerate(networks) if number and not network.is_finite())]
        return {number: self._best(number) or self._initial[number] for number in needed}

    def _best(self, number: int) -> Tensors:
        return self._state.best if number == 0 else tensors_under(f"{number}", self._state.best_discriminators)
