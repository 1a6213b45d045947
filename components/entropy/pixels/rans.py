"""rANS, an asymmetric numeral system, in interleaved lanes: many entropy coders side by side as one array.

rANS: Duda 2013 (arXiv 1311.2540); interleaving: Giesen 2014 (arXiv 1402.3392). Coders that take one symbol after
another cost a call each, or a table of probabilities each. Here symbol k of a group goes to lane k, whose state is an
integer of 32 bits; all lanes share one sequence of 16-bit words. Integers alone decide, so every machine decodes the
same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BitstreamError

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
PRECISION = 12
TOTAL = 1 << PRECISION
"""The sum of the frequencies of a model."""

_LOWEST = np.uint32(1 << 16)  # of a state between two symbols
_WORD_BITS, _VALUE_BITS, _PRECISION = np.uint32(16), np.uint32(8), np.uint32(PRECISION)
_SLOT, _VALUE = np.uint32(TOTAL - 1), np.uint32(255)


class ByteModels:
    """Distributions of a byte: frequencies (models, 256) with row sums of TOTAL, and lookup tables made of them."""

    def __init__(self, frequencies: Array):
        table = frequencies.astype(np.uint32)
        self.starts = (table.cumsum(axis=1, dtype=np.uint32) - table).ravel()
        self.frequencies = table.ravel()
        # A decoder looks up a slot, one of TOTAL of each model. An entry packs the slot's value (8 bits), the value's
        # frequency less one (12 bits), and how far into the value's slots it is (12 bits).
        values = np.tile(np.arange(256, dtype=np.uint32), len(table))
        slots = np.arange(len(table) * TOTAL, dtype=np.uint32) & np.uint32(TOTAL - 1)
        packed = values | self.frequencies - 1 << _VALUE_BITS
        self.slots = np.repeat(packed, self.frequencies)
        slots -= np.repeat(self.starts, self.frequencies)
        self.slots |= slots << _VALUE_BITS + PRECISION


class LaneEncoder:
    """Groups of bytes to 16-bit words; `LaneDecoder` returns them in the same groups and order.

    Args:
        models: distributions of bytes.
        lanes: coders side by side.
    """

    def __init__(self, models: ByteModels, lanes: int):
        self._models, self._lanes = models, lanes
        self._groups: list[Array] = []

    def encode(self, rows: Array, values: Bytes) -> None:
        """Code (n,) bytes, each with the model of its row (n,)."""
        at = (rows.astype(np.int32) << 8) + values
        self._groups += np.split(at, range(self._lanes, len(at), self._lanes))

    def finish(self) -> bytes:
        """The final states, then the words, little-endian. rANS is a stack, so the last group is coded first."""
        states = np.full(self._lanes, _LOWEST, dtype=np.uint64)
        words = []
        for at in reversed(self._groups):
            frequencies, starts = self._models.frequencies[at], self._models.starts[at]
            state = states[: len(at)]
            full = state >= frequencies.astype(np.uint64) << np.uint64(32 - PRECISION)
            words.append(state[full].astype("<u2"))
            state[full] >>= _WORD_BITS
            whole, rest = np.divmod(state, frequencies)
            state[:] = (whole << _PRECISION) + rest + starts
        return states.astype("<u4").tobytes() + b"".join(group.tobytes() for group in reversed(words))


class LaneDecoder:
    """Inverse of `LaneEncoder`. Its methods raise BitstreamError for bytes that no encoder wrote."""

    def __init__(self, models: ByteModels, lanes: int, data: bytes):
        if len(data) < 4 * lanes or len(data) % 2:
            raise BitstreamError("corrupted bitstream: entropy-coded bytes are not whole words")
        self._models, self._lanes = models, lanes
        self._states = np.frombuffer(data, "<u4", lanes).astype(np.uint32)
        self._words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.uint32)
        self._read = 0

    def decode(self, rows: Array) -> Bytes:
        """The next (n,) bytes, each coded with the model of its row (n,)."""
        values = np.empty(len(rows), dtype=np.uint8)
        slots = rows.astype(np.int32) << PRECISION
        for first in range(0, len(slots), self._lanes):
            self._decode_group(slots[first : first + self._lanes], values[first : first + self._lanes])
        return values

    def finish(self) -> None:
        """Raise BitstreamError unless every word was read and every state is back where the encoder began."""
        if self._read != len(self._words) or np.any(self._states != _LOWEST):
            raise BitstreamError("corrupted bitstream: entropy-coded bytes do not end with the last symbol")

    def _decode_group(self, slots: Array, values: Bytes) -> None:
        """Decode one symbol of each lane into `values`; slots (n,) are the first of each symbol's model."""
        state = self._states[: len(slots)]
        packed = self._models.slots.take(slots | (state & _SLOT).view(np.int32))
        np.bitwise_and(packed, _VALUE, out=values, casting="unsafe")
        state >>= _PRECISION
        frequencies = packed >> _VALUE_BITS & _SLOT
        frequencies += 1
        state *= frequencies
        state += packed >> _VALUE_BITS + PRECISION
        (low,) = (state < _LOWEST).nonzero()
        words = self._words[self._read : self._read + len(low)]
        if len(words) < len(low):
            raise BitstreamError("corrupted bitstream: entropy-coded bytes end too early")
        self._read += len(low)
        state[low] = state[low] << _WORD_BITS | words
