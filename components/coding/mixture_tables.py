"""Integer frequency tables of quantised Gaussian mixtures, computed element by element in integer arithmetic."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .escapes import ESCAPED_BITS, decode_escaped, encode_escaped
from .fixed_point import ACTIVATION_BITS, UNIT, Arrays, Values
from .gaussian_tables import SCALES, SMALLEST, STEP
from .range_coder import TOTAL, Ints, SymbolDecoder, SymbolEncoder

Integers = NDArray[np.int64]

_WEIGHT_BITS = 15
_CDF_BITS = 24
_PER_SIGMA = 1024  # entries of the normal distribution's table per standard deviation
_SIGMAS = 6
_INVERSE_BITS = 16
_LARGEST_LOGIT = 10 * UNIT  # a component that is this far below the first has no weight
_WIDEST = 1024
_ROWS = 1 << 14  # elements whose frequencies are held at once


class Mixtures(NamedTuple):
    """Mixtures of K Gaussians each, (K, ...) in integers.

    logits: logarithms of the weights, in fixed point. means: in quantiser steps, in fixed point. scales: indices of
    scales (components.coding.gaussian_tables.table_index).
    """

    logits: Values
    means: Values
    scales: Values


class _Batch(NamedTuple):
    """Elements that are coded together, because their tables have the same width.

    indices: (n,) flat indices of the elements. first: (n,) the value that entry 0 of each table stands for.
    width: how many values have an entry; one more entry is the escape. frequencies: (n, width + 1), row sums TOTAL.
    """

    indices: Integers
    first: Ints
    width: int
    frequencies: Ints


class MixtureTables:
    """Frequencies of quantised Gaussian mixtures from three stored tables and integer arithmetic.

    Arrays: normal, the normal distribution function in 2^-24; exponential, exp(-x) in 2^-15; inverse_scale and reach,
    1 / scale and the half-width of the support for each scale of the Gaussian tables.
    """

    def __init__(self, arrays: Arrays):
        self._normal, self._exponential, self._inverse_scale, self._reach = (
            arrays[name].astype(np.int64) for name in ("normal", "exponential", "inverse_scale", "reach")
        )

    def encode(self, encoder: SymbolEncoder, symbols: Values, mixtures: Mixtures) -> None:
        """Code whole numbers (C, h, w), each with its mixture."""
        flat = symbols.ravel().astype(np.int32)
        for batch in self._batches(mixtures):
            values = flat[batch.indices] - batch.first
            inside = (values >= 0) & (values < batch.width)
            encoder.encode_each(np.where(inside, values, batch.width).astype(np.int32), batch.frequencies)
            encode_escaped(encoder, flat[batch.indices][~inside])

    def decode(self, decoder: SymbolDecoder, mixtures: Mixtures) -> Values:
        """Inverse of `encode`: whole numbers (C, h, w). Raises BitstreamError."""
        symbols = np.empty(mixtures.means[0].size)
        for batch in self._batches(mixtures):
            values = decoder.decode_each(batch.frequencies)
            escaped = values == batch.width
            values += batch.first
            values[escaped] = decode_escaped(decoder, int(escaped.sum()))
            symbols[batch.indices] = values
        return symbols.reshape(mixtures.means.shape[1:])

    def bits_of(self, symbols: Values, mixtures: Mixtures) -> NDArray[np.float64]:
        """Code lengths of whole numbers (C, h, w), each with its mixture, escapes included."""
        logits, means, scales = map(_flat, mixtures)
        flat = symbols.ravel().astype(np.int64)
        first, widths = self._supports(means, scales)
        inside = (flat >= first) & (flat < first + widths)
        entries = np.where(inside, flat - first, 0)
        places = np.stack((np.zeros_like(entries), entries, entries + 1, widths), axis=1)
        upto = self._upto(logits, means, scales, first, places, widths[:, None])
        frequencies = np.where(inside, upto[:, 2] - upto[:, 1], TOTAL - upto[:, 3])
        lengths: NDArray[np.float64] = -np.log2(frequencies / TOTAL) + ESCAPED_BITS * ~inside
        return lengths.reshape(symbols.shape)

    def _batches(self, mixtures: Mixtures) -> Iterator[_Batch]:
        """Batches that together hold every element once."""
        logits, means, scales = map(_flat, mixtures)
        first, widths = self._supports(means, scales)
        for width in np.unique(widths):
            (same_width,) = np.nonzero(widths == width)
            rows = max(1, _ROWS * 8 // int(width))
            for indices in np.split(same_width, range(rows, len(same_width), rows)):
                parts = logits[:, indices], means[:, indices], scales[:, indices]
                frequencies = self._frequencies(*parts, first[indices], int(width))
                yield _Batch(indices, first[indices].astype(np.int32), int(width), frequencies)

    def _supports(self, means: Integers, scales: Integers) -> tuple[Integers, Integers]:
        """(n,) the value of the first entry of each element's table, and how many values have one: a power of two."""
        reach = self._reach[scales]
        first = (means - reach).min(axis=0) >> ACTIVATION_BITS
        last = -(-(means + reach).max(axis=0) >> ACTIVATION_BITS)
        widths = np.left_shift(4, np.searchsorted(4 << np.arange(8), np.minimum(last - first + 1, _WIDEST)))
        return first, widths.astype(np.int64)

    def _frequencies(self, logits: Integers, means: Integers, scales: Integers, first: Integers, width: int) -> Ints:
        """(n, width + 1) frequencies of the values from first[i] on, then of the escape."""
        places = np.broadcast_to(np.arange(width + 1), (len(first), width + 1))
        upto = self._upto(logits, means, scales, first, places, width)
        frequencies = np.empty((len(first), width + 1), dtype=np.int32)
        frequencies[:, :-1] = np.diff(upto, axis=1)
        frequencies[:, -1] = TOTAL - upto[:, -1]
        return frequencies

    def _upto(
        self,
        logits: Integers,
        means: Integers,
        scales: Integers,
        first: Integers,
        places: Integers,
        width: int | Integers,
    ) -> Integers:
        """(n, m) sums of the frequencies of all entries before places (n, m), the first of which is 0.

        Every entry gets 1, the rest of TOTAL is shared by probability, and the escape gets the remainder.
        """
        edges = (first[:, None] + places) * UNIT - UNIT // 2  # in fixed point
        cumulative = self._cumulative(self._weights(logits), means, self._inverse_scale[scales], edges)
        share = cumulative - cumulative[:, :1]
        upto: Integers = (share * (TOTAL - width - 1) >> _WEIGHT_BITS + _CDF_BITS) + places
        return upto

    def _weights(self, logits: Integers) -> Integers:
        """(K, n), sums at most 2^_WEIGHT_BITS."""
        weights = self._exponential[np.minimum(logits.max(axis=0) - logits, _LARGEST_LOGIT)]
        shares: Integers = (weights << _WEIGHT_BITS) // weights.sum(axis=0)
        return shares

    def _cumulative(self, weights: Integers, means: Integers, inverse: Integers, edges: Integers) -> Integers:
        """Distribution functions at edges (n, m), in 2^-(_WEIGHT_BITS + _CDF_BITS)."""
        cumulative = np.zeros(edges.shape, dtype=np.int64)
        limit = _SIGMAS * _PER_SIGMA
        for weight, mean, scale in zip(weights, means, inverse, strict=True):
            at = (edges - mean[:, None]) * scale[:, None] >> _INVERSE_BITS
            cumulative += weight[:, None] * self._normal[np.clip(at, -limit, limit) + limit]
        return cumulative


def mixture_arrays() -> dict[str, Ints]:
    """The arrays of new tables."""
    scales = SMALLEST * np.exp(STEP * np.arange(SCALES))
    at = np.arange(-_SIGMAS * _PER_SIGMA, _SIGMAS * _PER_SIGMA + 1) / _PER_SIGMA
    arrays = {
        "normal": [round(2**_CDF_BITS * 0.5 * math.erfc(-x / math.sqrt(2))) for x in at],
        "exponential": np.round(np.exp(-np.arange(_LARGEST_LOGIT + 1) / UNIT) * 2**_WEIGHT_BITS),
        "inverse_scale": np.round(_PER_SIGMA / UNIT / scales * 2**_INVERSE_BITS),
        "reach": np.ceil((4.3 * scales + 1) * UNIT),
    }
    return {name: np.asarray(values, dtype=np.int32) for name, values in arrays.items()}


def _flat(part: Values) -> Integers:
    """(K, C, h, w) to (K, n)."""
    return part.reshape(len(part), -1).astype(np.int64)
