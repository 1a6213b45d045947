"""What a training is told, and whom it tells: apart from the loop, whose libraries take seconds to import."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

OptimizerName = Literal["adam", "sgd"]
Row = dict[str, Any]
"""What the history has of a validation."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a codec is trained.

    steps, minutes: the budget, one of the two.
    batch_size: patches in a step. learning_rate: at the start. optimizer: "adam", or "sgd" with momentum 0.9.
    schedule: "constant"; "cosine" down to a hundredth over the budget; "plateau": a tenth after `patience`
        validations without gain.
    clip_norm: largest norm of the gradient. lmbda: where lambda starts.
    precision: "auto" measures, or "32-true", "bf16-mixed".
    compile: whether the codec's forward pass is what torch.compile makes of it.
    validate_every: steps between validations. validation_patches: how many at the most.
    seed: of the weights, the sample order, the flips and the noise. workers: loader processes.
    max_skipped: share of the patches drawn, or of the train split while that is more, that may turn out damaged.
    """

    batch_size: int
    learning_rate: float
    lmbda: float
    optimizer: OptimizerName = "adam"
    steps: int | None = None
    minutes: float | None = None
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    patience: int = 5
    clip_norm: float = 1.0
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    compile: bool = False
    validate_every: int = 200
    validation_patches: int = 64
    seed: int = 0
    workers: int = 1
    max_skipped: float = 0.01

    def spent(self, step: int, elapsed_s: float) -> float:
        """The share of the budget that is used, from 0 to 1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, elapsed_s / (60 * self.minutes))


class TrainingCallback(Protocol):
    """Who is told how training goes."""

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """After every step: the share of the budget used, the step, its loss."""

    def on_validation(self, row: Row) -> None:
        """After every validation: the row that the history gets."""
