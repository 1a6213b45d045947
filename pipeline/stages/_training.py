"""What the stages `train` and `calibrate` share: a variant's training configuration, told to the user and to MLflow."""

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.arrays import Rgb
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.codecs.baselines.quality_search import largest_quality
from components.errors import CalibrationError
from components.rate.real_rate import bpp_of
from components.training.callback import Validation
from components.training.config import PublishedWeights
from components.training.job import RateTarget
from components.training.pretrained import fetch_weights
from pipeline.entry import Bar, console, progress

PROGRESS_UNITS = 1000
STEERING_SIDE = 512  # pixels of each calibration picture, either way, that the steering measures


def published_weights(files: Mapping[str, PublishedWeights], folder: Path) -> dict[str, str]:
    """The paths of `files`, fetched to `folder` unless they are here. Raises RatewrightError."""
    return {name: str(fetch_weights(file.location, file.sha256, folder)) for name, file in files.items()}


def fingerprint(*parts: Any) -> str:
    """A name for a run: the same parameters, data and code give the same one."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def rate_target_for(target_bpp: float, pictures: Sequence[Rgb]) -> RateTarget:
    """RateTarget by a part of each of `pictures`: pieces of many speak better for a set than a few whole ones.

    Where the parts lie, there may be more to code than elsewhere. WebP at about the target says by how much, since its
    rate of the whole costs little: of haar_hyper's 30 % too much on CLIC 2025 that leaves 2 %.
    """
    pieces = tuple(_quarters(rgb) for rgb in pictures)
    if all(piece.shape == rgb.shape for piece, rgb in zip(pieces, pictures, strict=True)):
        return RateTarget(target_bpp, pieces)
    webp = BASELINES["webp"]
    try:
        quality = largest_quality(webp, pieces, target_bpp)
    except CalibrationError:
        quality = webp.low
    coder = AtQuality(webp, quality)
    return RateTarget(target_bpp, pieces, bpp_of(coder, pictures) / bpp_of(coder, pieces))


def _quarters(rgb: Rgb) -> Rgb:
    """The middles of a picture's quarters, put together."""
    rows, columns = (_middles(side) for side in rgb.shape[:2])
    return rgb[rows][:, columns]


def _middles(side: int) -> NDArray[np.intp]:
    """The middle STEERING_SIDE / 2 places of each half of `side`, all of a short one."""
    if side <= STEERING_SIDE:
        return np.arange(side)
    half = STEERING_SIDE // 2
    starts = (side // 4 - half // 2, side - side // 4 - half // 2)
    return np.concatenate([np.arange(start, start + half) for start in starts])


def git_commit(root: Path) -> str | None:
    """The commit that `root` has checked out; None outside git."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


class ProgressLogger:
    """Tells the user how training goes, and `also` (MLflow, say) of each validation."""

    def __init__(self, label: str, bar: Bar, also: Callable[[Validation], None]):
        self._label, self._bar, self._also = label, bar, also

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Move the bar."""
        self._bar(round(spent * PROGRESS_UNITS), PROGRESS_UNITS)
        self._bar.note(f"{self._label} step {step} loss {loss:.4f}")

    def on_validation(self, validation: Validation) -> None:
        """Log the validation."""
        measured = validation.calibration_bpp
        console.print(
            f"{self._label}: step {validation.step} loss {validation.val_loss:.5f} psnr {validation.val_psnr_db:.2f} dB"
            f" estimated {validation.val_bpp_estimated:.3f} bpp"
            + ("" if validation.lmbda is None else f" lambda {validation.lmbda:.5g}")
            + ("" if measured is None else f" | calibration pictures {measured:.4f} bpp")
            + (" | diverged: back to the best weights, half the learning rate" if validation.diverged else "")
            + (f" | {validation.skipped} damaged patches replaced" if validation.skipped else "")
        )
        self._also(validation)


@contextmanager
def progress_logger(label: str, also: Callable[[Validation], None]) -> Iterator[ProgressLogger]:
    """A ProgressLogger with a progress bar."""
    with progress(label) as bar:
        yield ProgressLogger(label, bar, also)
