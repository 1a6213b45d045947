"""Coders of trits: one writes a stream, one reads any prefix of it, one counts bits.

The model goes through the planes once, whatever it does with the trits; a coder supplies them.
"""

import math
from typing import Protocol

import numpy as np

from .escapes import ESCAPED_BITS, decode_escaped, encode_escaped
from .fixed_point import Values
from .range_coder import TOTAL, EndOfPrefixError, PrefixDecoder, SymbolEncoder
from .trit_state import TritState
from .trit_tables import Integers, Intervals, next_trits

_MOST_OUTLIERS = 1 << 24


class TritCoder(Protocol):
    """Supplies the trits of elements, and writes, reads or counts them on the way."""

    def __call__(self, places: Integers, intervals: Intervals, frequencies: Integers) -> Integers:
        """The next trits of some elements.

        Args:
            places: (n,) flat indices of the elements.
            intervals: that hold their values (n,).
            frequencies: (n, 3) of the trits, with sum TOTAL.

        Returns:
            (n,) trits; fewer where a prefix ends.
        """

    def outliers(self, state: TritState, plane: int) -> bool:
        """After a plane, reveal values far outside their Gaussians. False where a prefix ends within them."""


class TritEncoder:
    """Codes the trits of given values (C, h, w) to a range encoder."""

    def __init__(self, encoder: SymbolEncoder, values: Integers):
        self._encoder, self._values = encoder, values.ravel()

    def outliers(self, state: TritState, plane: int) -> bool:
        """See TritCoder. Codes a flag, then how many there are, their channels, positions and raw values."""
        places, encode = state.outliers(self._values, plane), self._encoder.encode_uniform
        channels, positions = _sizes(state)
        encode(np.array([len(places) > 0], dtype=np.int32), 2)
        if len(places):
            encode(np.array([len(places)], dtype=np.int32), _MOST_OUTLIERS)
            encode((places // positions).astype(np.int32), channels)
            encode((places % positions).astype(np.int32), max(2, positions))
            encode_escaped(self._encoder, self._values[places].astype(np.int32))
            state.reveal(places, self._values[places])
        return True

    def __call__(self, places: Integers, intervals: Intervals, frequencies: Integers) -> Integers:
        """See TritCoder."""
        trits = next_trits(self._values[places], intervals)
        self._encoder.encode_each(trits.astype(np.int32), frequencies.astype(np.int32))
        return trits


class TritDecoder:
    """Reads trits from a prefix of a stream, until it ends."""

    def __init__(self, decoder: PrefixDecoder):
        self._decoder = decoder

    def outliers(self, state: TritState, plane: int) -> bool:  # noqa: ARG002
        """See TritCoder."""
        decode = self._decoder.decode_uniform
        channels, positions = _sizes(state)
        try:
            if decode(1, 2)[0]:
                number = int(decode(1, _MOST_OUTLIERS)[0])
                places = decode(number, channels).astype(np.int64) * positions + decode(number, max(2, positions))
                state.reveal(places, decode_escaped(self._decoder, number).astype(np.int64))
        except EndOfPrefixError:
            return False
        return True

    def __call__(self, places: Integers, intervals: Intervals, frequencies: Integers) -> Integers:  # noqa: ARG002
        """See TritCoder."""
        try:
            trits = self._decoder.decode_each(frequencies.astype(np.int32))
        except EndOfPrefixError as end:
            trits = end.decoded
        return trits.astype(np.int64)


class TritBitCounter:
    """Sums the bits of the trits of given values (C, h, w) at each position: `bits` (h, w)."""

    def __init__(self, values: Integers):
        self.bits: Values = np.zeros(values.shape[1:])
        self._values, self._escape = values.ravel(), ESCAPED_BITS + math.log2(values.size)

    def outliers(self, state: TritState, plane: int) -> bool:
        """See TritCoder."""
        places = state.outliers(self._values, plane)
        self._add(places, np.full(len(places), self._escape))
        state.reveal(places, self._values[places])
        return True

    def __call__(self, places: Integers, intervals: Intervals, frequencies: Integers) -> Integers:
        """See TritCoder."""
        trits = next_trits(self._values[places], intervals)
        self._add(places, -np.log2(frequencies[np.arange(len(trits)), trits] / TOTAL))
        return trits

    def _add(self, places: Integers, bits: Values) -> None:
        size = self.bits.size
        self.bits += np.bincount(places % size, bits, size).reshape(self.bits.shape)


def _sizes(state: TritState) -> tuple[int, int]:
    """Channels, at least 2, and positions."""
    return max(2, state.shape[0]), math.prod(state.shape[1:])
