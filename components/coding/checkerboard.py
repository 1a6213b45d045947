"""Checkerboard partition of latents, for a context model of two passes (He et al., CVPR 2021, arXiv 2103.15306).

a b a b      pass 0 has the positions whose row + column is even (a and d)
c d c d      pass 1 has the others, whose nearest neighbours are all in pass 0
"""

from collections.abc import Sequence

import numpy as np

from .fixed_point import Values


def checkerboard_split(x: Values) -> tuple[Values, Values]:
    """The positions of passes 0 and 1 of (C, h, w), h and w even: a above d, and b above c, each (C, h, w / 2)."""
    first = np.concatenate((x[:, 0::2, 0::2], x[:, 1::2, 1::2]), axis=1)
    second = np.concatenate((x[:, 0::2, 1::2], x[:, 1::2, 0::2]), axis=1)
    return first, second


def checkerboard_merge(first: Values, second: Values) -> Values:
    """Inverse of `checkerboard_split`."""
    channels, height, width = first.shape
    out = np.empty((channels, height, 2 * width))
    (out[:, 0::2, 0::2], out[:, 1::2, 1::2]), (out[:, 0::2, 1::2], out[:, 1::2, 0::2]) = map(_halves, (first, second))
    return out


def hierarchical_split(x: Values) -> tuple[Values, ...]:
    """The positions of five passes, from every fourth row and column to all: see HierarchicalContext."""
    (second, middles), rest = _levels(x)
    (first, middles_of_second), rest_of_second = _levels(second)
    return first, middles_of_second, rest_of_second, middles, rest


def hierarchical_merge(parts: Sequence[Values]) -> Values:
    """Inverse of `hierarchical_split`, or the grid of every second row and column from its first three parts."""
    first, middles, rest = parts[:3]
    grid = checkerboard_merge(np.concatenate((first, middles), axis=1), rest)
    return hierarchical_merge((grid, *parts[3:])) if len(parts) > 3 else grid


def _levels(x: Values) -> tuple[tuple[Values, Values], Values]:
    first, rest = checkerboard_split(x)
    return _halves(first), rest


def _halves(x: Values) -> tuple[Values, Values]:
    middle = x.shape[1] // 2
    return x[:, :middle], x[:, middle:]
