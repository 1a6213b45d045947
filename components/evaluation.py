"""Measuring a codec on real files: every picture through compress and decompress, nothing estimated."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.calibration import Trial, climb, trim
from components.codecs.base import Codec
from components.codecs.bitstream import Bitstream, parse
from components.codecs.pictures import to_rgb, to_tensor
from components.errors import CalibrationError, RatewrightError
from components.metrics.quality import measure as measure_quality
from components.metrics.quality import psnr_db

Rgb = NDArray[np.uint8]

_FINER_PLANES = 3


class Coder(Protocol):
    """Pictures (H, W, 3) uint8 to files and back."""

    def encode(self, rgb: Rgb) -> bytes:
        """The whole file."""

    def decode(self, data: bytes) -> Rgb:
        """The picture of a file."""


@dataclass(frozen=True)
class LearnedCoder:
    """A learned codec as a Coder; `gain` replaces the codec's own, `bpp` has every stream cut to that rate."""

    codec: Codec
    gain: float | None = None
    bpp: float | None = None

    def encode(self, rgb: Rgb) -> bytes:
        """One bitstream. Raises BitstreamError where one of `bpp` cannot be."""
        x = to_tensor(rgb).to(self.codec.gain.device)
        latents, size = self.codec.latents(x), x.shape[-2:]
        if self.bpp is None:
            return self.codec.pack(latents, size, self.gain)
        return stream_of(self.codec, latents, size, self.bpp).cut(bytes_at(self.bpp, size))

    def decode(self, data: bytes) -> Rgb:
        """Raises BitstreamError."""
        return to_rgb(self.codec.decompress([data]))


def stream_of(codec: Codec, latents: Tensor, size: Sequence[int], bpp: float) -> Bitstream:
    """The stream of a progressive codec with at least a rate, or with all that it can tell.

    Its planes are those of the codec's own gain, and as many finer ones as it takes.
    """
    for plane in range(_FINER_PLANES + 1):
        stream = codec.pack(latents, tuple(size), codec.gain.item() * 3**plane)
        if len(stream) >= bytes_at(bpp, size):
            break
    return parse(stream)


def bytes_at(bpp: float, size: Sequence[int]) -> int:
    """The largest file of a picture of `size` (height, width) that is within a rate."""
    return math.floor(bpp * size[0] * size[1] / 8)


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


def bpp_of(coder: Coder, pictures: Iterable[Rgb]) -> float:
    """bpp of real files: total bits over total pixels."""
    size, pixels = 0, 0
    for rgb in pictures:
        size += len(coder.encode(rgb))
        pixels += rgb.shape[0] * rgb.shape[1]
    return 8 * size / pixels


def rate_and_psnr(coder: Coder, pictures: Sequence[Rgb]) -> tuple[float, float | None]:
    """bpp (total over total) and mean PSNR in dB of real files: the two figures that a calibration needs.

    A picture that comes back unchanged has no PSNR and is left out of the mean; None where all do.
    """
    size, values = 0, []
    for rgb in pictures:
        data = coder.encode(rgb)
        size += len(data)
        values.append(psnr_db(rgb, coder.decode(data)))
    finite = [value for value in values if value is not None]
    pixels = sum(rgb.shape[0] * rgb.shape[1] for rgb in pictures)
    return 8 * size / pixels, sum(finite) / len(finite) if finite else None


def rate_over_gain(codec: Codec, pictures: Iterable[Rgb]) -> Callable[[float], float]:
    """bpp of the real bitstreams of `pictures` as a function of the gain.

    The analysis runs once for all gains, and the coding once for each: the codec must not change meanwhile.
    """
    latents, pixels = [], 0
    for rgb in pictures:
        x = to_tensor(rgb).to(codec.gain.device)
        latents.append((codec.latents(x), x.shape[-2:]))
        pixels += rgb.shape[0] * rgb.shape[1]

    @cache
    def rate(gain: float) -> float:
        return 8 * sum(len(codec.pack(latent, size, gain)) for latent, size in latents) / pixels

    return rate


def gain_at(
    codec: Codec,
    pictures: Sequence[Rgb],
    target_bpp: float,
    tolerance: float,
    told: Callable[[Trial], None] = lambda _: None,
    *,
    over_gain: Callable[[float], float] | None = None,
) -> float:
    """The gain that takes `pictures` to the target rate, without training; `told` hears of every trial.

    over_gain: `rate_over_gain` of the same, where it is at hand.

    Where gains are rungs, the one that comes nearest below the target, whatever the tolerance: of each range the
    last, and of these the one of the best pictures. Raises CalibrationError.
    """
    rate_at = over_gain or rate_over_gain(codec, pictures)

    def stored(gain: float) -> float:
        """As a checkpoint holds it: what is measured is what is deployed."""
        return torch.tensor(gain, dtype=codec.gain.dtype).item()

    def rate_of(gain: float) -> float:
        bpp = rate_at(stored(gain))
        told(Trial(gain, bpp))
        return bpp

    if not codec.rungs:
        return stored(trim(rate_of, target_bpp, tolerance, codec.gain.item())[-1].value)
    reached, failures = [], []
    for rungs in codec.rungs:
        try:
            reached.append(climb(rate_of, rungs, target_bpp)[-1].value)
        except CalibrationError as error:
            failures.append(error)
    if not reached:
        raise failures[0]
    return max(reached, key=lambda gain: rate_and_psnr(LearnedCoder(codec, gain), pictures)[1] or math.inf)
