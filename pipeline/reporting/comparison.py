"""One picture in several versions side by side: the same detail of each without loss, and the whole of each."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from components.arrays import Rgb
from components.errors import RatewrightError
from pipeline.documents.base import Kind

DETAIL = 256
"""Side of a detail in pixels; details are shown one to one."""
_GRID = 32  # pixels between the places where a detail may begin


@dataclass(frozen=True)
class Version:
    """One picture as one codec decodes it.

    Attributes:
        codec: Shown as the version's name.
        kind: Kind of the codec.
        pixels: The decoded picture.
        bpp: Rate of this picture in bits per pixel.
        psnr_db: PSNR of this picture in dB; None where it is the original.
    """

    codec: str
    kind: Kind
    pixels: Rgb
    bpp: float
    psnr_db: float | None


@dataclass(frozen=True)
class Tile:
    """A version as the page shows it.

    Attributes:
        codec: Shown as the version's name.
        kind: Kind of the codec, or `original`.
        bpp: Rate in bits per pixel; None for the original.
        psnr_db: PSNR in dB; None where there is none.
        detail: Data URI of the detail.
        whole: Data URI of the whole picture, scaled down.
    """

    codec: str
    kind: Kind | Literal["original"]
    bpp: float | None
    psnr_db: float | None
    detail: str
    whole: str


@dataclass(frozen=True)
class Comparison:
    """A picture in several versions.

    Attributes:
        image: Title: the picture's name.
        width: Of the details, in pixels.
        height: Of the details, in pixels.
        tiles: The original first.
    """

    image: str
    width: int
    height: int
    tiles: Sequence[Tile]


def side_by_side(image: str, original: Rgb, versions: Sequence[Version]) -> Comparison:
    """A comparison of what codecs make of a picture.

    Details are embedded without loss, so that every difference is the codec's.

    Args:
        image: Title of the comparison.
        original: The picture.
        versions: The picture as codecs decode it.

    Raises:
        RatewrightError: A version is not of the original's size.
    """
    height, width = original.shape[:2]
    for version in versions:
        if version.pixels.shape != original.shape:
            h, w = version.pixels.shape[:2]
            raise RatewrightError(f"{version.codec} decodes {image} of {width}x{height} pixels to {w}x{h}")
    corner = detail_corner(original, [version.pixels for version in versions])
    tiles = [Tile("Original", "original", None, None, *_embedded(original, corner))]
    tiles += [Tile(v.codec, v.kind, v.bpp, v.psnr_db, *_embedded(v.pixels, corner)) for v in versions]
    return Comparison(image, min(DETAIL, width), min(DETAIL, height), tiles)


def detail_corner(original: Rgb, versions: Sequence[Rgb]) -> tuple[int, int]:
    """Where the versions of a picture differ most.

    Args:
        original: The picture; compared as well if there is one version alone.
        versions: The picture as codecs decode it.

    Returns:
        Top and left of the detail, DETAIL pixels either way, in which the mean deviation of the versions is largest.
    """
    height, width = original.shape[:2]
    deviation = _deviation(versions if len(versions) > 1 else [original, *versions])
    sums = np.pad(deviation.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def within(corner: tuple[int, int]) -> float:
        top, left = corner
        bottom, right = min(height, top + DETAIL), min(width, left + DETAIL)
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    tops, lefts = (range(0, max(0, side - DETAIL) + 1, _GRID) for side in (height, width))
    return max(((top, left) for top in tops for left in lefts), key=within)


def _deviation(pictures: Sequence[Rgb]) -> np.ndarray:
    """Standard deviation of pictures (H, W, 3) in every pixel, the mean over its colours: (H, W)."""
    total, squares = np.zeros((2, *pictures[0].shape), np.float32)
    for pixels in pictures:  # one at a time: test pictures are large and codecs many
        total += pixels
        squares += pixels.astype(np.float32) ** 2
    variance = squares / len(pictures) - (total / len(pictures)) ** 2
    return np.sqrt(np.maximum(0, variance)).mean(axis=2)  # type: ignore[no-any-return]


def _embedded(pixels: Rgb, corner: tuple[int, int]) -> tuple[str, str]:
    """Data URIs of the detail at `corner`, and of the whole picture."""
    top, left = corner
    whole = Image.fromarray(pixels)
    whole.thumbnail((2 * DETAIL, 2 * DETAIL))  # twice the size it is shown at: sharp on dense screens
    detail = Image.fromarray(pixels[top : top + DETAIL, left : left + DETAIL])
    return _data_uri(detail, lossless=True, method=2), _data_uri(whole, quality=88)


def _data_uri(image: Image.Image, **options: Any) -> str:
    """The picture as WebP, which is the smallest format that every browser shows, with or without loss."""
    stream = io.BytesIO()
    image.save(stream, format="WebP", **options)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
