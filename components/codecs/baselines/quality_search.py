"""Search of the quality at which a classic codec meets a target rate."""

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...arrays import Rgb
from ...errors import CalibrationError
from .lossy import Classic

RATE_TOLERANCE = 0.005
"""A search for a real quality ends when the rate is within this fraction below the target."""
QUALITY_TOLERANCE = 1e-3
"""It also ends when the quality is known within this fraction."""


def largest_quality(
    codec: Classic,
    images: Sequence[Rgb],
    target_bpp: float,
    *,
    workers: int = 2,
    rates: MutableMapping[float, float] | None = None,
) -> float:
    """The largest quality, common to all images, whose rate is at most the target.

    A whole-number quality is exact: the next one is above the target. A real quality has a rate within 0.5 % below the
    target, or is known to 0.1 %.

    Args:
        codec: the classic codec.
        images: the pictures.
        target_bpp: in bits per pixel: 8 * total bytes / total pixels, headers included.
        workers: number of pictures that are encoded at a time, one thread each.
        rates: rates of these images by quality, from searches for other targets; new ones are added.

    Raises:
        CalibrationError: the rate at the lowest quality is above the target.
    """
    if not images:
        raise ValueError("no pictures to search a quality on")
    pixels: int = sum(image.shape[0] * image.shape[1] for image in images)
    rates = {} if rates is None else rates

    with ThreadPoolExecutor(workers) as pool:

        def measure(quality: float) -> float:
            if quality not in rates:
                # By number: `map` asks for all items at once, and each picture may be decoded when it is asked for.
                sizes = pool.map(lambda number: len(codec.encode(images[number], quality)), range(len(images)))
                rates[quality] = 8 * sum(sizes) / pixels
            return rates[quality]

        lowest = measure(codec.low)
        if lowest > target_bpp:
            raise CalibrationError(
                f"{codec.name} does not reach {target_bpp:g} bpp: its lowest rate on these pictures is {lowest:.4f} bpp"
            )
        return _regula_falsi(measure, codec, rates, target_bpp)


def _regula_falsi(
    measure: Callable[[float], float], codec: Classic, rates: Mapping[float, float], target_bpp: float
) -> float:
    """Close in on the target by straight lines in log rate (regula falsi, Illinois variant).

    scipy's bracketing solvers would encode at the highest quality first, which takes longest, and may end above the
    target; none of them searches whole numbers.

    Args:
        measure: the rate of a quality, which it adds to `rates`.
        codec: the classic codec.
        rates: all rates measured so far by quality, that of the lowest quality among them.
        target_bpp: in bits per pixel.
    """
    # A quality that is a scale spans decades: it is interpolated in its logarithm.
    place, quality_at = (math.log, math.exp) if codec.low > 0 and not codec.integer else (float, float)
    aim = math.log(target_bpp if codec.integer else (1 - RATE_TOLERANCE / 2) * target_bpp)
    weights = {True: 1.0, False: 1.0}  # of the end below the target, and of the end above it
    was_below = None
    while True:
        below = max(quality for quality, bpp in rates.items() if bpp <= target_bpp)
        over = [quality for quality, bpp in rates.items() if bpp > target_bpp and quality > below]
        above = min(over, default=codec.high + codec.integer)  # the highest quality is not encoded unless needed
        if codec.integer:
            found = above - below <= 1
        else:
            found = rates[below] >= (1 - RATE_TOLERANCE) * target_bpp or above - below <= QUALITY_TOLERANCE * above
        if found:
            return below
        share = 0.5
        if over:
            short, excess = aim - math.log(rates[below]), math.log(rates[above]) - aim
            share = weights[True] * short / (weights[True] * short + weights[False] * excess)
        quality = quality_at(place(below) + share * (place(above) - place(below)))
        is_below = measure(min(max(round(quality), below + 1), above - 1) if codec.integer else quality) <= target_bpp
        weights[is_below] = 1.0
        if is_below == was_below:
            weights[not is_below] /= 2  # the other end has not moved twice
        was_below = is_below
