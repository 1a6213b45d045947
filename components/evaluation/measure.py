"""Measuring a codec on real files: every picture through compress and decompress, nothing estimated."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.arrays import Rgb
from components.codecs.coder import Coder
from components.errors import RatewrightError
from components.metrics.quality import measure as measure_quality


@dataclass(frozen=True)
class ImageResult:
    """One picture through a coder: rate in bits per pixel, times in seconds; a figure that does not exist is None."""

    image: str
    width: int
    height: int
    bytes: int
    bpp: float
    psnr_db: float | None
    ssim: float | None
    ms_ssim: float | None
    swd: float | None
    encode_s: float
    decode_s: float
    why: dict[str, str]


def measure(
    coder: Coder,
    pictures: Iterable[tuple[str, Rgb]],
    keep: Callable[[str, Rgb], None] | None = None,
    *,
    lossless: bool = False,
) -> list[ImageResult]:
    """Code each (name, picture); `keep(name, decoded)` sees every decoded picture.

    Of a `lossless` coder every pixel is checked: raises RatewrightError, which names the first picture that changed.
    """
    results = []
    for name, rgb in pictures:
        started = time.perf_counter()
        data = coder.encode(rgb)
        encoded = time.perf_counter()
        decoded = coder.decode(data)
        finished = time.perf_counter()
        if lossless:
            _check_unchanged(name, rgb, decoded)
        quality = measure_quality(rgb, decoded)
        height, width = rgb.shape[:2]
        bpp = 8 * len(data) / (height * width)
        figures = (quality.psnr_db, quality.ssim, quality.ms_ssim, quality.swd)
        times = (encoded - started, finished - encoded)
        results.append(ImageResult(name, width, height, len(data), bpp, *figures, *times, quality.why))
        if keep is not None:
            keep(name, decoded)
    return results


def _check_unchanged(name: str, rgb: Rgb, decoded: Rgb) -> None:
    if decoded.shape != rgb.shape:
        raise RatewrightError(f"not lossless: {name} of shape {rgb.shape} came back as {decoded.shape}")
    if changed := np.count_nonzero((decoded != rgb).any(axis=2)):
        raise RatewrightError(f"not lossless: {changed} of the {rgb[..., 0].size} pixels of {name} came back changed")


def summarise(results: Sequence[ImageResult]) -> dict[str, Any]:
    """The figures of a set: bpp is total bits over total pixels, `bpp_mean` and the qualities are means over pictures.

    A quality that some picture lacks is None for the set, with the first reason in `<field>_why`.
    """
    pixels = sum(result.width * result.height for result in results)
    size = sum(result.bytes for result in results)
    point: dict[str, Any] = {
        "images": len(results),
        "pixels": pixels,
        "bytes": size,
        "bpp": 8 * size / pixels,
        "bpp_mean": sum(result.bpp for result in results) / len(results),
    }
    for field in ("psnr_db", "ssim", "ms_ssim", "swd"):
        values = [getattr(result, field) for result in results]
        if None in values:
            lacking = results[values.index(None)]
            point[field] = None
            point[f"{field}_why"] = f"{lacking.image}: {lacking.why[field]}"
        else:
            point[field] = sum(values) / len(values)
    for field in ("encode_s", "decode_s"):
        point[f"{field}_per_mpx"] = 1e6 * sum(getattr(result, field) for result in results) / pixels
    return point
