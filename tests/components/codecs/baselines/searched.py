"""Two photographs, and the quality of each classic codec that takes them to one rate."""

from functools import cache

import numpy as np

from components.codecs.baselines.lossy import BASELINES
from components.codecs.baselines.quality_search import largest_quality

TARGET = 0.3


@cache
def photographs() -> list[np.ndarray]:
    from skimage import data

    return [data.astronaut()[:256, 64:320].copy(), data.coffee()[:200, 200:450].copy()]


@cache
def search(name: str) -> tuple[float, dict[float, float]]:
    """The largest quality within TARGET, and all rates that were measured by quality."""
    rates: dict[float, float] = {}
    return largest_quality(BASELINES[name], photographs(), TARGET, rates=rates), rates
