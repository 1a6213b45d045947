"""models/<name>/history.jsonl: the validations of a training, one line each."""

from pydantic import ConfigDict

from pipeline.documents.base import Section


class HistoryRow(Section):
    """One validation. Losses and lambda are in the units of the codec's own paper."""

    model_config = ConfigDict(allow_inf_nan=True)  # of a training that diverged

    step: int
    """Steps of the optimiser until then."""
    lmbda: float | None
    """Lambda; null for a codec that has none."""
    lr: float
    """Learning rate."""
    train_loss: float
    """Loss of the last step."""
    val_loss: float
    """Mean loss over the validation patches."""
    val_psnr_db: float | None
    """Mean PSNR over the validation patches in dB."""
    val_bpp_estimated: float
    """Mean estimated rate over the validation patches in bits per pixel; real bitstreams may be longer."""
    skipped: int = 0
    """Damaged patches that others stood in for, so far."""
    diverged: bool = False
    """Whether the loss exploded, and training went back to the best weights with half the learning rate."""
    calibration_bpp: float | None
    """Rate of real bitstreams in bits per pixel, on parts of the calibration pictures; null where none was measured."""
