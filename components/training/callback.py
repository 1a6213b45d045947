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

    def __str__(self) -> str:
        """One line for the user."""
        loss, psnr_db = _number(self.val_loss, ".5f"), _number(self.val_psnr_db, ".2f")
        bpp = _number(self.val_bpp_estimated, ".3f")
        parts = [f"step {self.step} loss {loss} psnr {psnr_db} dB estimated {bpp} bpp"]
        if self.lmbda is not None:
            parts[0] += f" lambda {self.lmbda:.5g}"
        if self.calibration_bpp is not None:
            parts.append(f"calibration pictures {self.calibration_bpp:.4f} bpp")
        if self.diverged:
            parts.append("diverged: back to the best weights, half the learning rate")
        if self.skipped:
            parts.append(f"{self.skipped} damaged patches replaced")
        return " | ".join(parts)


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


def _number(value: float | None, form: str) -> str:
    return "not finite" if value is None else format(value, form)
