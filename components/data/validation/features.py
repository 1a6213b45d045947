"""Figures of one picture that tell an unusual one from the rest of its set."""

import io
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...arrays import Rgb
from ...settings import Settings

BLOCK = 16
"""Side in pixels of the blocks that count as flat or text-like."""

_REDUCED = 1024  # side of the picture that colours are measured on, at the most
_GREY_SPREAD = 4  # levels between the largest and the smallest of R, G and B, which JPEG adds to a grey picture
_FLAT_DEVIATION = 1.0  # levels

_PAPER_SPREAD, _PAPER_SHARE = 8, 0.35  # levels around the paper's, and the least share of such pixels
_INK_DISTANCE, _INK_SHARE = 64, 0.08
_BETWEEN_SHARE = 0.3  # of pixels that are neither paper nor ink: the edges of strokes
_STROKE_SHARE = 0.1  # of neighbours, one of them ink; an edge straight through a block has 1/30

# The luminance table of quality 50 (ITU-T T.81, table K.1), row by row, as libjpeg scales it.
_LUMINANCE = np.fromstring(
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99",
    np.int64,
    sep=" ",
)


class Features(Settings):
    """The figures of a picture. Levels are those of 8 bits."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    grey: float
    """Share of the pixels whose red, green and blue are nearly equal."""
    mean: float
    """Mean luma, in levels."""
    contrast: float
    """Standard deviation of luma, in levels."""
    colourfulness: float
    """Spread and distance from grey of the opponent colours, in levels (Hasler and Süsstrunk 2003, M3)."""
    flat: float
    """Share of the 16x16 blocks whose luma deviates by less than one level."""
    text: float
    """Share of the 16x16 blocks that look like print: ink on paper of one level, in many strokes."""
    jpeg_quality: int | None
    """libjpeg's quality whose luminance table is nearest to the file's; null for a file that is no JPEG."""

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height


def measure(rgb: Rgb, data: bytes) -> Features:
    """The figures of a picture.

    Args:
        rgb: the picture (H, W, 3), uint8.
        data: its file, of which a JPEG has quantisation tables.
    """
    height, width = rgb.shape[:2]
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    reduced = reduce(rgb, _REDUCED)
    spread = reduced.max(axis=2) - reduced.min(axis=2)
    mean, deviation = cv2.meanStdDev(luma)
    flat, text = _flat_and_text(luma)
    return Features(
        width=width,
        height=height,
        grey=_rounded(np.mean(spread <= _GREY_SPREAD)),
        mean=_rounded(mean[0, 0]),
        contrast=_rounded(deviation[0, 0]),
        colourfulness=_rounded(_colourfulness(reduced)),
        flat=_rounded(flat),
        text=_rounded(text),
        jpeg_quality=jpeg_quality(data),
    )


def reduce(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture scaled down until its longer side is `side` pixels; a smaller one as it is."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg_quality(data: bytes) -> int | None:
    """libjpeg's quality, 1 to 100, whose luminance table is nearest to that of a JPEG file; None for another file."""
    if data[:2] != b"\xff\xd8":
        return None
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
        tables = picture.quantization  # type: ignore[attr-defined]
    if not tables:
        return None
    table = np.array(tables[min(tables)], np.int64)
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = np.clip((_LUMINANCE * scale[:, None] + 50) // 100, 1, 255)
    return int(quality[np.abs(scaled - table).sum(axis=1).argmin()])


def _colourfulness(rgb: Rgb) -> float:
    red, green, blue = (rgb[..., channel].astype(np.float32) for channel in range(3))
    opponents = red - green, (red + green) / 2 - blue
    deviation = math.hypot(*(float(each.std()) for each in opponents))
    distance = math.hypot(*(float(each.mean()) for each in opponents))
    return deviation + 0.3 * distance


def _flat_and_text(luma: NDArray[np.uint8]) -> tuple[float, float]:
    """Shares of flat and of text-like blocks; of a picture smaller than one block, those of its largest square."""
    side = min(BLOCK, *luma.shape)
    rows, columns = luma.shape[0] // side, luma.shape[1] // side
    whole = luma[: rows * side, : columns * side].astype(np.float32)
    mean = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    square = cv2.resize(whole * whole, (columns, rows), interpolation=cv2.INTER_AREA)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    flat = float(np.mean(deviation < _FLAT_DEVIATION))
    # A block with this much ink and paper deviates by this much at least.
    strong = deviation >= _INK_DISTANCE * np.sqrt(_INK_SHARE * (1 - _INK_SHARE)) / 2
    blocks = luma[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)[strong]
    return flat, float(_is_text(blocks).sum() / (rows * columns)) if len(blocks) else 0.0


def _is_text(blocks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each block (N, side, side) looks like print.

    Most pixels have the level of the paper or are far from it, as ink is; few lie between. Ink and paper alternate more
    often than at the edge of one object.
    """
    paper = _commonest_level(blocks)[:, None, None]
    distance = np.abs(blocks.astype(np.int16) - paper)
    on_paper = (distance <= _PAPER_SPREAD).mean(axis=(1, 2))
    ink = distance >= _INK_DISTANCE
    on_ink = ink.mean(axis=(1, 2))
    inked = distance >= _INK_DISTANCE // 2
    changes = (inked[:, 1:] != inked[:, :-1]).mean(axis=(1, 2)) + (inked[..., 1:] != inked[..., :-1]).mean(axis=(1, 2))
    found = (on_paper >= _PAPER_SHARE) & (on_ink >= _INK_SHARE) & (1 - on_paper - on_ink <= _BETWEEN_SHARE)
    return np.asarray(found & (changes / 2 >= _STROKE_SHARE), np.bool_)


def _commonest_level(blocks: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The commonest level of each block, 8 levels wide, in its middle."""
    count = len(blocks)
    places = (blocks.reshape(count, -1) >> 3) + 32 * np.arange(count)[:, None]
    bins = np.bincount(places.ravel(), minlength=32 * count).reshape(count, 32)
    return np.asarray(bins.argmax(axis=1) * 8 + 4, np.int16)


def _rounded(value: float) -> float:
    return round(float(value), 4)
