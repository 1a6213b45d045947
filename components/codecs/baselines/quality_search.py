"""The quality of a classic codec that meets a target rate."""

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from components.arrays import Rgb
from components.codecs.baselines.lossy import Classic
from components.errors import CalibrationError

RATE_TOLERANCE = 0.005  # a real-valued search is done within this fraction below the target
QUALITY_TOLERANCE = 1e-3  # or once the quality is known within this fraction


@dataclass(frozen=True)
class Search:
    """What `largest_quality` found."""

    quality: float
    bpp: float
    """8 x total bytes over total pixels at `quality`."""
    tried: list[tuple[float, float]]
    """Every (quality, bpp) measured, in the order of the search, those above the target too."""


def largest_quality(
    codec: Classic,
    images: Sequence[Rgb],
    target_bpp: float,
    *,
    workers: int = 2,
    known: MutableMapping[float, float] | None = None,
) -> Search:
    """The largest quality, common to all `images`, whose rate is at most `target_bpp`.

    The rate is 8 x total bytes over total pixels, headers included. A whole-number quality is found exactly
    (the next one is above the target); a real one until the rate is within 0.5 % below the target or the
    quality is known to 0.1 %, whichever comes first. `workers` pictures are encoded at a time, one thread
    each. `known` holds rates of these images by quality, from searches for other targets, and gets what is measured.
    Raises `CalibrationError` where even the lowest quality is above the target.
    """
    if not images:
        raise ValueError("no pictures to search a quality on")
    pixels: int = sum(image.shape[0] * image.shape[1] for image in images)
    tried: list[tuple[float, float]] = []
    rates = {} if known is None else known

    with ThreadPoolExecutor(workers) as pool:

        def rate(quality: float) -> float:
            if quality not in rates:
                rates[quality] = 8 * sum(pool.map(lambda image: len(codec.encode(image, quality)), images)) / pixels
            tried.append((quality, rates[quality]))
            return rates[quality]

        lowest = rate(codec.low)
        if lowest > target_bpp:
            raise CalibrationError(
                f"{codec.name} does not reach {target_bpp:g} bpp: its lowest rate on these pictures is {lowest:.4f} bpp"
            )
        quality = _narrowed(rate, codec, rates, target_bpp)
    return Search(quality, rates[quality], tried)


def _narrowed(rate: Callable[[float], float], codec: Classic, known: Mapping[float, float], target_bpp: float) -> float:
    """Close in on the target by straight lines in log rate (regula falsi, Illinois variant).

    `rate` adds what it measures to `known`, which has the lowest quality from the start.
    """
    # A quality that is a scale spans decades.
    place, quality_at = (math.log, math.exp) if codec.low > 0 and not codec.integer else (float, float)
    aim = math.log(target_bpp if codec.integer else (1 - RATE_TOLERANCE / 2) * target_bpp)
    weights = {True: 1.0, False: 1.0}  # of the end below the target and of the one above it
    was_below = None
    while True:
        below = max(quality for quality, bpp in known.items() if bpp <= target_bpp)
        over = [quality for quality, bpp in known.items() if bpp > target_bpp and quality > below]
        above = min(over, default=codec.high + codec.integer)  # never encoded before it is known
        if codec.integer:
            found = above - below <= 1
        else:
            found = known[below] >= (1 - RATE_TOLERANCE) * target_bpp or above - below <= QUALITY_TOLERANCE * above
        if found:
            return below
        share = 0.5
        if over:
            short, excess = aim - math.log(known[below]), math.log(known[above]) - aim
            share = weights[True] * short / (weights[True] * short + weights[False] * excess)
        quality = quality_at(place(below) + share * (place(above) - place(below)))
        is_below = rate(min(max(round(quality), below + 1), above - 1) if codec.integer else quality) <= target_bpp
        weights[is_below] = 1.0
        if is_below == was_below:
            weights[not is_below] /= 2  # the other end stays too long
        was_below = is_below
