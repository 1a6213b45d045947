"""Adaptive probabilities of binary decisions, in integers, so that every machine has the same."""

from collections.abc import Sequence

import numpy as np

from .rans import PRECISION, TOTAL, Array, ByteModels

_SLOTS = 1 << 18
"""Counters of each order; contexts with the same remainder share one."""
_LIMIT = 255
"""Decisions that a counter remembers, about: above it, counts are halved."""
_TRUST = 2
"""Decisions that the estimate of the next coarser context counts for."""
_ONE_BITS = 16
_ONE = 1 << _ONE_BITS


def _ladder() -> Array:
    """Frequencies of a one, of TOTAL: from 2 in steps of an eighth to a half, and back to TOTAL - 2."""
    low = [2]
    while low[-1] < TOTAL // 2:
        low.append(min(TOTAL // 2, low[-1] + max(1, low[-1] >> 3)))
    return np.array([*low, *(TOTAL - each for each in reversed(low[:-1]))])


_FREQUENCIES = _ladder()
_ROWS = np.searchsorted((_FREQUENCIES[1:] + _FREQUENCIES[:-1]) // 2, np.arange(TOTAL)).astype(np.int32)
MODELS = ByteModels(np.pad(np.stack((TOTAL - _FREQUENCIES, _FREQUENCIES), axis=1), ((0, 0), (0, 254))))
"""The distributions that decisions are coded with, as bytes 0 and 1, from a rare one to a frequent one."""


class AdaptiveBits:
    """Estimates decisions from those before in the same contexts.

    A decision has a context of each order, from the coarsest to the finest. The estimate of an order is its share of
    ones, to which that of the order before is added as if it were seen `_TRUST` times.

    Args:
        orders: contexts of a decision.
    """

    def __init__(self, orders: int):
        self._seen = np.zeros((orders, _SLOTS), np.int64)
        self._ones = np.zeros((orders, _SLOTS), np.int64)

    def rows(self, contexts: Sequence[Array]) -> Array:
        """The rows of MODELS (n,) for decisions whose contexts are `contexts`: for each order (n,) integers."""
        estimate: Array = np.full(len(contexts[0]), _ONE // 2, np.int64)
        for seen, ones, context in zip(self._seen, self._ones, contexts, strict=True):
            at = _slots(context)
            estimate = ((ones[at] << _ONE_BITS) + _TRUST * estimate) // (seen[at] + _TRUST)
        rows: Array = _ROWS[np.minimum(estimate, _ONE - 1) >> _ONE_BITS - PRECISION]
        return rows

    def update(self, contexts: Sequence[Array], bits: Array) -> None:
        """Count decisions (n,)."""
        for seen, ones, context in zip(self._seen, self._ones, contexts, strict=True):
            at = _slots(context)
            np.add.at(seen, at, 1)
            np.add.at(ones, at[bits != 0], 1)
            full = at[seen[at] > _LIMIT]
            seen[full] >>= 1
            ones[full] >>= 1


def _slots(context: Array) -> Array:
    """The counters of contexts (n,): a multiplicative hash of 32 bits."""
    hashed = context.astype(np.uint32) * np.uint32(2654435761)
    return (hashed >> np.uint32(14)).astype(np.int64)
