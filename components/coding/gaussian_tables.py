"""Integer frequency tables of quantised Gaussians, stored in the checkpoint so that no float decides a symbol."""

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .escapes import ESCAPED_BITS, decode_values, encode_values
from .fixed_point import Arrays, Values, rounding_shift
from .range_coder import TOTAL, Ints, SymbolDecoder, SymbolEncoder

SCALES = 48
SMALLEST, LARGEST = 0.11, 64.0  # standard deviations of the first and the last table, in quantiser steps
STEP = math.log(LARGEST / SMALLEST) / (SCALES - 1)  # tables are even in the logarithm: 14.5 % apart
FRACTIONS = 4  # means are in quarters of a quantiser step

UNIT_BITS = 8
UNITS_PER_TABLE = 1 << UNIT_BITS
"""Logarithms of scales are counted in this fraction of the distance between two tables: 0.05 % each."""

# log(scale) in fixed point to those units. The literals are round(2^12 / STEP) and
# round(-log(SMALLEST) / STEP * UNITS_PER_TABLE).
TABLES_PER_LOG = 30240
TABLES_PER_LOG_BITS = 12
TABLE_OF_ONE = 4172


class GaussianTables:
    """Frequencies of round(N(mean, scale)) for `SCALES` scales and `FRACTIONS` fractional means.

    Table (s, f) has 2 * support[s] + 2 entries: the values -support[s] to support[s] around the whole part of the
    mean, then the escape symbol. The fractional mean of f is (f - 2) / 4.

    Attributes:
        supports: (SCALES,) half-widths of the tables.
        tables: Table (s, f) at index s * FRACTIONS + f.
    """

    def __init__(self, arrays: Arrays):
        """Set up from the arrays support (SCALES,), and frequencies, all tables one after another."""
        self.supports: Ints = arrays["support"].astype(np.int32)
        lengths = np.repeat(2 * self.supports + 2, FRACTIONS)
        self.tables: list[Ints] = np.split(arrays["frequencies"].astype(np.int32), np.cumsum(lengths)[:-1])

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
            out[:, column] = lengths[-1] + ESCAPED_BITS
            out[reach - half : reach + half + 1, column] = lengths[:-1]
        return out

    def bits_of(self, symbols: Values, scales: Values) -> NDArray[np.float64]:
        """Code lengths of whole numbers around zero, each with the table of its scale; in any shape."""
        reach = int(self.supports[-1])
        rows = np.clip(symbols, -reach, reach).astype(np.intp) + reach
        return self.bits[rows, scales.astype(np.intp) * FRACTIONS + FRACTIONS // 2]

    def encode(self, encoder: SymbolEncoder, symbols: Values, scales: Values) -> None:
        """Code whole numbers, each with the table of its scale; in any shape."""
        flat = symbols.ravel().astype(np.int32)
        for scale, indices in _by_scale(scales):
            encode_values(encoder, flat[indices], self._around_zero(scale))

    def decode(self, decoder: SymbolDecoder, scales: Values) -> Values:
        """Inverse of `encode`: whole numbers in the shape of their scales. Raises BitstreamError."""
        symbols = np.empty(scales.size)
        for scale, indices in _by_scale(scales):
            symbols[indices] = decode_values(decoder, len(indices), self._around_zero(scale))
        return symbols.reshape(scales.shape)

    def _around_zero(self, scale: int) -> Ints:
        return self.tables[scale * FRACTIONS + FRACTIONS // 2]


def table_index(log_scale: Values, shift: Values | int = 0) -> Values:
    """Index s of the table whose scale is nearest.

    Args:
        log_scale: logarithms of scales in fixed point, in any shape.
        shift: log-gain to add, in 1 / UNITS_PER_TABLE of the distance between two tables (components.coding.gain).

    Returns:
        Integers from 0 to SCALES - 1.
    """
    units = rounding_shift(log_scale * TABLES_PER_LOG, TABLES_PER_LOG_BITS) + TABLE_OF_ONE + shift
    return np.clip(rounding_shift(units, UNIT_BITS), 0, SCALES - 1)


def gaussian_frequencies() -> tuple[Ints, Ints]:
    """The arrays of new tables: support and frequencies."""
    scales = SMALLEST * np.exp(STEP * np.arange(SCALES))
    support: Ints = np.ceil(4.3 * scales + 1).astype(np.int32)
    rows = [
        _quantised_gaussian(float(scale), (fraction - 2) / FRACTIONS, int(half))
        for scale, half in zip(scales, support, strict=True)
        for fraction in range(FRACTIONS)
    ]
    return support, np.concatenate(rows)


def quantise_probabilities(probabilities: NDArray[np.float64]) -> Ints:
    """Probabilities (n,) of values to n + 1 positive frequencies with sum TOTAL, the last for all other values."""
    full = np.append(probabilities, max(0.0, 1 - probabilities.sum()))
    frequencies: Ints = 1 + np.floor(full * (TOTAL - len(full))).astype(np.int32)
    frequencies[frequencies.argmax()] += TOTAL - frequencies.sum()
    return frequencies


def _quantised_gaussian(scale: float, mean: float, half: int) -> Ints:
    edges = (np.arange(-half, half + 2) - 0.5 - mean) / (scale * math.sqrt(2))
    cumulative = np.array([0.5 * math.erfc(-edge) for edge in edges])
    return quantise_probabilities(np.diff(cumulative))


def _by_scale(scales: Values) -> list[tuple[int, NDArray[np.intp]]]:
    """Each scale in use with the flat indices of its elements, in order."""
    flat = scales.ravel().astype(np.int16)
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=SCALES)
    pieces = np.split(order, np.cumsum(counts)[:-1])
    return [(scale, piece) for scale, piece in enumerate(pieces) if len(piece)]
