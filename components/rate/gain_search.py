"""The gain (1 / quantiser step) of a trained codec that meets a target rate in real bytes."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import torch

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import Coder, LearnedCoder
from components.codecs.tensors import to_tensor
from components.errors import CalibrationError
from components.metrics.quality import psnr_db
from components.rate.searches import Trial, climb, trim


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

    For a codec with operating points, the one that comes nearest below the target, whatever the tolerance: the last
    of each range, and of these the one with the best pictures. Raises CalibrationError.
    """
    rate_at = over_gain or rate_over_gain(codec, pictures)

    def stored(gain: float) -> float:
        """As a checkpoint holds it: what is measured is what is deployed."""
        return torch.tensor(gain, dtype=codec.gain.dtype).item()

    def rate_of(gain: float) -> float:
        bpp = rate_at(stored(gain))
        told(Trial(gain, bpp))
        return bpp

    if not codec.operating_points:
        return stored(trim(rate_of, target_bpp, tolerance, codec.gain.item())[-1].value)
    reached, failures = [], []
    for operating_points in codec.operating_points:
        try:
            reached.append(climb(rate_of, operating_points, target_bpp)[-1].value)
        except CalibrationError as error:
            failures.append(error)
    if not reached:
        raise failures[0]
    return max(reached, key=lambda gain: rate_and_psnr(LearnedCoder(codec, gain), pictures)[1] or math.inf)
