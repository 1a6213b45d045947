"""Callbacks of a training, and the record of a validation that they receive."""

from typing import Protocol

from ..settings import Settings


class Validation(Settings):
    """Results of one validation: a line of history.jsonl."""

    step: int
    """Steps done."""
    lmbda: float | None
    """Lambda during this validation; null for a codec whose rate no lambda controls."""
    lr: float
    """Learning rate of the codec's optimiser."""
    train_loss: float | None
    """Loss of the last training batch; null where it was not finite."""
    val_loss: float | None
    """Mean loss of the validation patches, in the units of the codec's paper; null where it was not finite."""
    val_psnr_db: float | None
    """Mean PSNR of the validation patches in dB; null where it was not finite."""
    val_bpp_estimated: float | None
    """Mean rate of the validation patches in bits per pixel, estimated by the entropy model; null where it was not
    finite."""
    skipped: int
    """Undecodable patches that were replaced so far."""
    diverged: bool
    """Whether the loss was not finite, or so high that training returned to the best weights."""
    calibration_bpp: float | None
    """Bits per pixel of real bitstreams of the calibration pictures; null where lambda is not adjusted."""


class TrainingCallback(Protocol):
    """Receives the progress of a training."""

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Called after every step.

        Args:
            spent: share of the budget used, from 0 to 1.
            step: steps done.
            loss: the codec's loss on the batch.
        """

    def on_validation(self, validation: Validation) -> None:
        """Called after every validation, once the training state is saved where a save was due."""


class NoOpCallback:
    """A callback that ignores all progress."""

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Do nothing."""

    def on_validation(self, validation: Validation) -> None:
        """Do nothing."""
