"""Differences between two codecs on the same pictures, with intervals: pictures differ more than codecs do."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEW_PICTURES = 10
"""With fewer pictures, intervals are too narrow: those of 10 hold the true mean in 91 % of all cases, of 5 in 84 %."""

_RESAMPLES = 10_000
_CONFIDENCE = 0.95
_SEED = 0
_AT_ONCE = 1 << 20  # draws that memory holds: sets such as CIFAR-10 have ten thousand pictures

Figures = NDArray[np.float64]


class Difference(NamedTuple):
    """The mean of a figure's differences over pictures, and its confidence interval; no interval for one picture."""

    mean: float
    low: float | None
    high: float | None
    pictures: int


def paired_difference(ours: Figures, others: Figures) -> Difference:
    """The mean of ours - others over pictures.

    The interval is the percentile bootstrap's (Efron and Tibshirani 1993): 95 % of the means of 10,000 draws of as many
    pictures, with replacement, from a fixed seed. It tells what other pictures like these would have given.

    Args:
        ours: figure of each picture, (n,).
        others: the other codec's, of the same pictures in the same order, (n,).

    Raises:
        ValueError: for two lengths, or no picture.
    """
    if ours.shape != others.shape or not len(ours):
        raise ValueError(f"{len(ours)} pictures against {len(others)}")
    differences = ours - others
    mean, count = float(differences.mean()), len(differences)
    if count == 1:
        return Difference(mean, None, None, count)
    outside = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(_resampled_means(differences), (outside, 1 - outside))
    return Difference(mean, float(low), float(high), count)


def _resampled_means(differences: Figures) -> Figures:
    """The means of draws of as many pictures, with replacement: (_RESAMPLES,)."""
    random, count = np.random.default_rng(_SEED), len(differences)
    rows = max(1, _AT_ONCE // count)
    sizes = [min(rows, _RESAMPLES - done) for done in range(0, _RESAMPLES, rows)]
    return np.concatenate([differences[random.integers(0, count, size=(size, count))].mean(axis=1) for size in sizes])
