"""Integer frequency tables of quantised Gaussian mixtures, computed element by element in integer arithmetic."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..layers.fixed_point import ACTIVATION_BITS, UNIT
from .gaussian_tables import SCALES, SMALLEST, STEP
from .range_coder import TOTAL, Ints

Integers = NDArray[np.int64]

_WEIGHT_BITS = 15
_CDF_BITS = 24
_PER_SIGMA = 1024  # entries of the normal distribution's table per standard deviation
_SIGMAS = 6
_INVERSE_BITS = 16
_LARGEST_LOGIT = 10 * UNIT  # a component that is this far below the first has no weight
_WIDEST = 1024
_ROWS = 1 << 14  # elements whose frequencies are held at once


class Batch(NamedTuple):
    """Elements that are coded together, because their tables have the same width.

    indices: (n,) flat indices of the elements. first: (n,) the value that entry 0 of each table stands for.
    width: how many values have an entry; one more entry is the escape. frequencies: (n, width + 1), row sums TOTAL.
    """

    indices: Integers
    first: Ints
    width: int
    frequencies: Ints


class MixtureTables(nn.Module):
    """Frequencies of quantised Gaussian mixtures from three stored tables and integer arithmetic.

    Buffers: `normal`, the normal distribution function in 2^-24; `exponential`, exp(-x) in 2^-15; `inverse_scale` and
    `reach`, 1 / scale and the half-width of the support for each scale of the Gaussian tables.
    """

    normal: Tensor
    exponential: Tensor
    inverse_scale: Tensor
    reach: Tensor

    def __init__(self) -> None:
        super().__init__()
        scales = SMALLEST * np.exp(STEP * np.arange(SCALES))
        at = np.arange(-_SIGMAS * _PER_SIGMA, _SIGMAS * _PER_SIGMA + 1) / _PER_SIGMA
        normal = [round(2**_CDF_BITS * 0.5 * math.erfc(-x / math.sqrt(2))) for x in at]
        exponential = np.exp(-np.arange(_LARGEST_LOGIT + 1) / UNIT) * 2**_WEIGHT_BITS
        inverse = np.round(_PER_SIGMA / UNIT / scales * 2**_INVERSE_BITS)
        self.register_buffer("normal", torch.tensor(normal, dtype=torch.int32))
        self.register_buffer("exponential", torch.from_numpy(np.round(exponential).astype(np.int32)))
        self.register_buffer("inverse_scale", torch.from_numpy(inverse.astype(np.int32)))
        self.register_buffer("reach", torch.from_numpy(np.ceil((4.3 * scales + 1) * UNIT).astype(np.int32)))

    def batches(self, logits: Integers, means: Integers, tables: Integers) -> Iterator[Batch]:
        """Frequency tables of n elements, mixtures of K Gaussians each.

        Args:
            logits: (K, n) logarithms of the weights, in fixed point (components.layers.fixed_point).
            means: (K, n) in quantiser steps, in fixed point.
            tables: (K, n) indices of scales (components.entropy.gaussian_tables.table_index).

        Returns:
            Batches that together hold every element once.
        """
        reach = self.reach.cpu().numpy().astype(np.int64)[tables]
        first = (means - reach).min(axis=0) >> ACTIVATION_BITS
        last = -(-(means + reach).max(axis=0) >> ACTIVATION_BITS)
        # The width of each element's table: the next power of two.
        widths = np.left_shift(4, np.searchsorted(4 << np.arange(8), np.minimum(last - first + 1, _WIDEST)))
        for width in np.unique(widths):
            (same_width,) = np.nonzero(widths == width)
            rows = max(1, _ROWS * 8 // int(width))
            for indices in np.split(same_width, range(rows, len(same_width), rows)):
                parts = logits[:, indices], means[:, indices], tables[:, indices]
                frequencies = self._frequencies(*parts, first[indices], int(width))
                yield Batch(indices, first[indices].astype(np.int32), int(width), frequencies)

    def _frequencies(self, logits: Integers, means: Integers, tables: Integers, first: Integers, width: int) -> Ints:
        """(n, width + 1) frequencies of the values from first[i] on, then of the escape."""
        exponential, normal = (part.cpu().numpy().astype(np.int64) for part in (self.exponential, self.normal))
        weights = exponential[np.minimum(logits.max(axis=0) - logits, _LARGEST_LOGIT)]
        weights = (weights << _WEIGHT_BITS) // weights.sum(axis=0)  # (K, n), sum at most 2^_WEIGHT_BITS
        inverse = self.inverse_scale.cpu().numpy().astype(np.int64)[tables]
        half = UNIT // 2
        edges = (first[:, None] + np.arange(width + 1)) * UNIT - half  # (n, width + 1), in fixed point
        cumulative = np.zeros(edges.shape, dtype=np.int64)
        limit = _SIGMAS * _PER_SIGMA
        for weight, mean, scale in zip(weights, means, inverse, strict=True):
            at = (edges - mean[:, None]) * scale[:, None] >> _INVERSE_BITS
            cumulative += weight[:, None] * normal[np.clip(at, -limit, limit) + limit]
        # Every entry gets 1, the rest of TOTAL is shared by probability, and the escape gets the remainder.
        share = cumulative - cumulative[:, :1]
        upto = (share * (TOTAL - width - 1) >> _WEIGHT_BITS + _CDF_BITS) + np.arange(width + 1)
        frequencies = np.empty((len(first), width + 1), dtype=np.int32)
        frequencies[:, :-1] = np.diff(upto, axis=1)
        frequencies[:, -1] = TOTAL - upto[:, -1]
        return frequencies
