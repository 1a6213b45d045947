"""models/<name>/calibration.json: how a trained codec was brought to the target rate."""

from typing import Literal

from pipeline.documents.base import Document, Section


class CalibrationTrial(Section):
    """A rate that was measured in real bytes on the way to the target."""

    phase: Literal["training", "trained", "fine_tune", "gain_search", "final"]
    """When: while lambda was controlled in training (on part of the set), after training, after a fine-tune at a new
    lambda, in the search for the gain, or of the calibrated codec."""
    lmbda: float | None
    """Lambda, in the units of the codec's own loss; null for a codec whose rate lambda does not move."""
    gain: float
    """The gain (1 / quantiser step)."""
    bpp: float
    """Rate in bits per pixel: total bits over total pixels."""
    steps: int
    """Training steps until then."""


class Calibration(Document):
    """A trained codec at the target rate; a lossless codec has no target, and is measured alone."""

    name: str
    """The variant's name in params.yaml."""
    target_bpp: float | None
    """Target rate in bits per pixel; null for a lossless codec."""
    tolerance: float | None
    """Share of the target by which the rate may fall short; null for a lossless codec."""
    calibration_set: str
    """The data set on which the rate was measured."""
    rate_parameter: str | None
    """What moves the codec's rate, such as `lmbda`; null for a lossless codec."""
    setting: str | None
    """The gain that was found, in words; null for a lossless codec."""
    model_hash: str
    """Hash of weights, tables and hyper-parameters, in hexadecimal digits, as bitstreams carry it."""
    lmbda: float | None
    """Lambda of the last training; null for a codec whose rate lambda does not move."""
    gain: float | None
    """The gain (1 / quantiser step) that meets the target; null for a lossless codec."""
    bpp: float
    """Rate of the calibrated codec in bits per pixel: total bits over total pixels."""
    steps: int
    """Training steps, those of fine-tunes included."""
    history: tuple[CalibrationTrial, ...]
    """Every rate that was measured, in order; empty for a lossless codec."""
