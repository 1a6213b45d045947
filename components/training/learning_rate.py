"""Learning-rate schedules: constant, cosine with a warm-up, and reduction on a plateau."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from .config import TrainingConfig
from .optimised_network import OptimisedNetwork
from .state import TrainingState


class LearningRate:
    """The learning rate of a codec and its discriminators.

    Each divergence of the training halves it (`state.halvings`), whatever the schedule.
    """

    def __init__(self, config: TrainingConfig, networks: Sequence[OptimisedNetwork], state: TrainingState):
        """Set the rate at which training begins or resumes.

        Args:
            config: the schedule and its peak.
            networks: the codec first; every network scales the rate by its own ratio.
            state: the training state; `state.plateau` resumes the plateau schedule.
        """
        self._config, self._networks, self._state = config, networks, state
        self._set(self._peak())
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            networks[0].optimizer.optimizer, factor=0.1, patience=config.patience
        )
        if state.plateau:
            self._plateau.load_state_dict(state.plateau)
            self._set(state.plateau["_last_lr"][0])

    @property
    def value(self) -> float:
        """The learning rate of the codec."""
        rate: float = self._networks[0].optimizer.param_groups[0]["lr"]
        return rate

    def before_step(self) -> None:
        """Set the rate of the next step, which the cosine schedule takes from the share of the budget used."""
        if self._config.schedule == "cosine":
            spent = self._config.spent(self._state.step, self._state.elapsed_s)
            self._set(_cosine(spent) * self._peak())

    def after_validation(self, loss: float | None) -> None:
        """Lower the rate of the plateau schedule if `loss` shows no gain for long enough; None is no gain."""
        if self._config.schedule == "plateau":
            self._plateau.step(math.inf if loss is None else loss)
            self._set(self.value)  # the scheduler knows the codec's optimiser alone

    def halve(self) -> None:
        """Halve the rate for the rest of the training."""
        self._state.halvings += 1
        self._set(self.value / 2)

    def plateau_state(self) -> dict[str, Any]:
        """State of the plateau schedule; empty for another schedule."""
        if self._config.schedule != "plateau":
            return {}
        # The scheduler knows the rate after its own last step, and not that a later step of the training halved it.
        return {**self._plateau.state_dict(), "_last_lr": [self.value]}

    def _peak(self) -> float:
        return self._config.learning_rate * 0.5**self._state.halvings

    def _set(self, value: float) -> None:
        for network in self._networks:
            network.set_learning_rate(value)


def _cosine(spent: float) -> float:
    """Share of the peak rate: a warm-up over 2 % of the budget, then half a cosine down to a hundredth."""
    warm_up = min(1.0, spent / 0.02 + 0.05)
    return warm_up * (0.01 + 0.99 * (1 + math.cos(math.pi * spent)) / 2)
