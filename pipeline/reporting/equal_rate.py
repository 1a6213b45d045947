"""One photograph at equal rate: the original, a learned codec and classic codecs side by side, with bytes and PSNR.

The photograph is the portrait of Eileen Collins that scikit-image brings along (NASA, public domain), so that the
picture can be drawn anywhere, without a data set. No profile trains on it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.codecs.baselines.quality_search import largest_quality
from components.codecs.coder import Coder, LearnedCoder
from components.metrics.quality import psnr_db
from components.rate.gain_search import gain_for_target
from pipeline.reporting.style import DPI, STYLE

PHOTOGRAPH = "portrait of Eileen Collins, NASA, public domain"
CLASSICS = ("avif", "jpeg2000", "jpeg")
LABELS = {"avif": "AVIF", "jpeg2000": "JPEG 2000", "jpeg": "JPEG"}
TOLERANCE = 0.01
"""Share of the target by which the learned codec's file may be smaller."""

_TOP, _LEFT, _SIDE = 20, 145, 160  # of the detail, in pixels
_ENLARGED = 2  # screen pixels for each, either way
_TITLE = 60  # pixels above a detail


@dataclass(frozen=True)
class CodedPhotograph:
    """The photograph as one codec codes it.

    Attributes:
        codec: Its name in the leaderboard.
        bytes: Size of the whole file.
        psnr_db: Against the original, in dB.
    """

    codec: str
    bytes: int
    psnr_db: float


@dataclass(frozen=True)
class EqualRate:
    """Codecs compared on the photograph at one rate, the learned codec first.

    Attributes:
        photograph: What is shown, and whose it is.
        target_bpp: The rate that every file comes as near to as its codec can, from below, in bits per pixel.
        versions: One for each codec.
    """

    photograph: str
    target_bpp: float
    versions: tuple[CodedPhotograph, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "EqualRate":
        """The comparison that `as_json` wrote."""
        versions = tuple(CodedPhotograph(**version) for version in value["versions"])
        return cls(value["photograph"], value["target_bpp"], versions)


def compare(model: Path, name: str, target_bpp: float) -> tuple[EqualRate, Figure]:
    """Code the photograph with a checkpoint and with classic codecs at one rate, and draw a detail of each.

    Args:
        model: The checkpoint.
        name: What the learned codec is called.
        target_bpp: The rate, in bits per pixel of the whole file.

    Returns:
        The figures, and the drawing.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        CalibrationError: A codec does not reach the rate.
    """
    original = _photograph()
    versions, decoded = [], []
    for codec, coder in _coders(model, name, original, target_bpp):
        file = coder.encode(original)
        decoded.append(coder.decode(file))
        psnr = psnr_db(original, decoded[-1])
        assert psnr is not None, "a lossy codec changed no pixel"
        versions.append(CodedPhotograph(codec, len(file), psnr))
    found = EqualRate(PHOTOGRAPH, target_bpp, tuple(versions))
    return found, _drawing(found, original, decoded)


def _photograph() -> Rgb:
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


def _coders(model: Path, name: str, original: Rgb, target_bpp: float) -> Iterator[tuple[str, Coder]]:
    """The learned codec, then the classic ones, each set to the rate on the photograph."""
    codec, _ = checkpoint.load(model)
    yield name, LearnedCoder(codec, gain_for_target(codec, [original], target_bpp, TOLERANCE))
    for classic in CLASSICS:
        baseline = BASELINES[classic]
        yield classic, AtQuality(baseline, largest_quality(baseline, [original], target_bpp))


@rc_context(STYLE)
def _drawing(found: EqualRate, original: Rgb, decoded: list[Rgb]) -> Figure:
    """The same detail of the original and of each decoded photograph in a row, enlarged without smoothing."""
    height, width = original.shape[:2]
    titles = [f"original\n{width}x{height} pixels"]
    titles += [f"{LABELS.get(v.codec, v.codec)}\n{v.bytes:,} bytes, {v.psnr_db:.2f} dB" for v in found.versions]
    side = _SIDE * _ENLARGED
    figure = Figure(figsize=(len(titles) * side / DPI, (side + _TITLE) / DPI))
    for place, (title, pixels) in enumerate(zip(titles, [original, *decoded], strict=True)):
        axes = figure.add_axes((place / len(titles), 0, 1 / len(titles), side / (side + _TITLE)))
        detail = Image.fromarray(pixels[_TOP : _TOP + _SIDE, _LEFT : _LEFT + _SIDE])
        axes.imshow(np.asarray(detail.resize((side, side), Image.Resampling.NEAREST)), interpolation="none")
        axes.set_axis_off()
        axes.set_title(title, size=8.5, pad=4, x=0.02)
    return figure
