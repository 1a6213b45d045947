"""The quality of a classic codec that meets a target rate."""

import math
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from components.codecs.classic import Classic
from components.codecs.libraries import Picture
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
    images: Sequence[Picture],
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
        bisect = _bisect_whole if codec.integer else _bisect_real
        quality, bpp = bisect(rate, codec.low, codec.high, lowest, target_bpp)
    return Search(quality, bpp, tried)


def _bisect_whole(
    rate: Callable[[float], float], low: float, high: float, lowest: float, target: float
) -> tuple[float, float]:
    below, above, bpp = int(low), int(high) + 1, lowest  # `above` is never encoded before it is known
    while above - below > 1:
        middle = (below + above) // 2
        measured = rate(middle)
        if measured <= target:
            below, bpp = middle, measured
        else:
            above = middle
    return below, bpp


def _bisect_real(
    rate: Callable[[float], float], low: float, high: float, lowest: float, target: float
) -> tuple[float, float]:
    below, above, bpp = low, high, lowest
    while bpp < (1 - RATE_TOLERANCE) * target and above - below > QUALITY_TOLERANCE * above:
        # A quality that is a scale spans decades: halve it in the logarithm.
        middle = math.sqrt(below * above) if low > 0 else (below + above) / 2
        measured = rate(middle)
        if measured <= target:
            below, bpp = middle, measured
        else:
            above = middle
    return below, bpp
