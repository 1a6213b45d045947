"""Integer frequency tables of quantised Gaussians, stored in the checkpoint so that no float decides a symbol."""

import math
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..layers.fixed_point import rounding_shift
from . import escapes
from .range_coder import TOTAL, Ints

SCALES = 48
SMALLEST, LARGEST = 0.11, 64.0  # standard deviations of the first and the last table, in quantiser steps
STEP = math.log(LARGEST / SMALLEST) / (SCALES - 1)  # tables are even in the logarithm: 14.5 % apart
FRACTIONS = 4  # means are in quarters of a quantiser step

_UNIT_BITS = 8
UNITS_PER_TABLE = 1 << _UNIT_BITS
"""Logarithms of scales are counted in this fraction of the distance between two tables: 0.05 % each."""

# log(scale) in fixed point to those units. The literals are round(2^12 / STEP) and
# round(-log(SMALLEST) / STEP * UNITS_PER_TABLE).
TABLES_PER_LOG = 30240
TABLES_PER_LOG_BITS = 12
TABLE_OF_ONE = 4172


class GaussianTables(nn.Module):
    """Frequencies of round(N(mean, scale)) for `SCALES` scales and `FRACTIONS` fractional means.

    Table (s, f) has 2 * support[s] + 2 entries: the values -support[s] to support[s] around the whole part of the
    mean, then the escape symbol. The fractional mean of f is (f - 2) / 4. The tables are buffers: they are computed
    once, when a codec is made, and stored in its checkpoint, so that every decoder reads the same integers.

    Buffers: `support` (SCALES,), half-widths; `frequencies`, all tables one after another.
    """

    support: Tensor
    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        scales = SMALLEST * np.exp(STEP * np.arange(SCALES))
        support = np.ceil(4.3 * scales + 1).astype(np.int32)
        rows = [
            _quantised_gaussian(float(scale), (fraction - 2) / FRACTIONS, int(half))
            for scale, half in zip(scales, support, strict=True)
            for fraction in range(FRACTIONS)
        ]
        self.register_buffer("support", torch.from_numpy(support))
        self.register_buffer("frequencies", torch.from_numpy(np.concatenate(rows)))

    @cached_property
    def supports(self) -> Ints:
        """(SCALES,) half-widths of the tables."""
        return np.asarray(self.support.cpu().numpy(), dtype=np.int32)

    @cached_property
    def tables(self) -> list[Ints]:
        """Table (s, f) at index s * FRACTIONS + f."""
        lengths = np.repeat(2 * self.supports + 2, FRACTIONS)
        return np.split(self.frequencies.cpu().numpy(), np.cumsum(lengths)[:-1])

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        """(2 * reach + 1, SCALES * FRACTIONS) code lengths of the values -reach to reach, escapes included.

        reach is the half-width of the widest table.
        """
        reach = int(self.supports[-1])
        out = np.empty((2 * reach + 1, len(self.tables)))
        for column, table in enumerate(self.tables):
            half = len(table) // 2 - 1
            lengths = -np.log2(table / TOTAL)
            out[:, column] = lengths[-1] + escapes.ESCAPED_BITS
            out[reach - half : reach + half + 1, column] = lengths[:-1]
        return out


def table_index(log_scale: Tensor, shift: Tensor | int = 0) -> Tensor:
    """Index s of the table whose scale is nearest.

    Args:
        log_scale: logarithms of scales in fixed point (components.layers.fixed_point), in any shape.
        shift: log-gain to add, in 1 / UNITS_PER_TABLE of the distance between two tables (components.entropy.gain).

    Returns:
        Integers from 0 to SCALES - 1, in float64.
    """
    units = rounding_shift(log_scale * TABLES_PER_LOG, TABLES_PER_LOG_BITS) + TABLE_OF_ONE + shift
    return rounding_shift(units, _UNIT_BITS).clamp_(0, SCALES - 1)


def _quantised_gaussian(scale: float, mean: float, half: int) -> Ints:
    edges = (np.arange(-half, half + 2) - 0.5 - mean) / (scale * math.sqrt(2))
    cumulative = np.array([0.5 * math.erfc(-edge) for edge in edges])
    return quantise_probabilities(np.diff(cumulative))


def quantise_probabilities(probabilities: NDArray[np.float64]) -> Ints:
    """Probabilities (n,) of values to n + 1 positive frequencies with sum TOTAL, the last for all other values."""
    full = np.append(probabilities, max(0.0, 1 - probabilities.sum()))
    frequencies: Ints = 1 + np.floor(full * (TOTAL - len(full))).astype(np.int32)
    frequencies[frequencies.argmax()] += TOTAL - frequencies.sum()
    return frequencies
