"""Figures at a target rate of a codec that has whole qualities only, between the two whose rates enclose the target."""

import math
from typing import Any

from ..metrics.figures import FIGURES
from .results import RatePoint

_QUALITIES = (*FIGURES, "pooled_psnr_db")
_OTHERS = ("bpp_mean", "encode_s_per_mpx", "decode_s_per_mpx")


def interpolated(below: RatePoint, above: RatePoint, bpp: float) -> RatePoint:
    """The figures at a rate between two real points, each linear in the logarithm of the rate.

    No file has these figures: they say what a codec with finer steps of quality would give.

    Args:
        below: a point of at most the rate.
        above: another of the same pictures, of a higher rate.
        bpp: the rate in bits per pixel.

    Returns:
        The point. A figure that either point lacks is None, with that point's reason.

    Raises:
        ValueError: the rate is not between those of the points: figures are never extrapolated.
    """
    if not 0 < below.bpp <= bpp <= above.bpp or below.bpp == above.bpp:
        raise ValueError(f"{bpp:g} bpp does not lie between {below.bpp:g} and {above.bpp:g} bpp")
    share = math.log(bpp / below.bpp) / math.log(above.bpp / below.bpp)
    found: dict[str, Any] = {"images": below.images, "pixels": below.pixels, "bpp": bpp}
    found["bytes"] = round(bpp * below.pixels / 8)
    for field in (*_QUALITIES, *_OTHERS):
        low, high = getattr(below, field), getattr(above, field)
        if low is not None and high is not None:
            found[field] = low + share * (high - low)
            continue
        lacking = below if low is None else above
        found |= {field: None, f"{field}_why": getattr(lacking, f"{field}_why")}
    return RatePoint(**found)
