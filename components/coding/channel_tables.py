"""Coding with a stored table for each channel and gain level: the factorized prior in use."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .escapes import ESCAPED_BITS, decode_values, encode_values
from .range_coder import TOTAL, EndOfPrefixError, Ints, PrefixDecoder, SymbolDecoder, SymbolEncoder

REACH = 63
"""Values from -REACH to REACH have an entry; values beyond are escaped."""

ChannelSelection = NDArray[np.bool_] | slice
"""A mask (C,) or a slice of the channels."""
ALL_CHANNELS = slice(None)


class ChannelTables:
    """Tables of C channels at 2 L + 1 gain levels, -L to L.

    Args:
        tables: (C, 2 L + 1, 2 * REACH + 2) frequencies of the values -REACH to REACH, then of the escape.
    """

    def __init__(self, tables: Ints):
        self._tables, self._levels = tables, tables.shape[1] // 2

    def encode(
        self,
        encoder: SymbolEncoder,
        symbols: Ints,
        levels: Ints | None = None,
        channels: ChannelSelection = ALL_CHANNELS,
    ) -> None:
        """Code integers channel by channel.

        Args:
            encoder: takes the symbols.
            symbols: (C, n).
            levels: (C,) gain level of each channel, clipped to those that there are; level 0 by default.
            channels: those to code.
        """
        for values, table in zip(symbols[channels], self._at(levels)[channels], strict=True):
            encode_values(encoder, values, table)

    def decode(
        self,
        decoder: SymbolDecoder,
        count: int,
        levels: Ints | None = None,
        channels: ChannelSelection = ALL_CHANNELS,
    ) -> Ints:
        """Inverse of `encode`: symbols (C, count), zero in channels that were not coded. Raises BitstreamError."""
        symbols = np.zeros((len(self._tables), count), dtype=np.int32)
        tables = self._at(levels)
        for channel in np.arange(len(symbols))[channels]:
            symbols[channel] = decode_values(decoder, count, tables[channel])
        return symbols

    def decode_prefix(self, decoder: PrefixDecoder, count: int, missing: Ints) -> tuple[Ints, bool]:
        """Decode as many channels as a prefix holds.

        Args:
            decoder: of the prefix.
            count: n symbols of each channel.
            missing: (C,) what stands in a channel that the prefix does not hold.

        Returns:
            Symbols (C, n), and whether the prefix holds all.
        """
        symbols = missing[:, None].repeat(count, axis=1)
        try:
            for row, table in zip(symbols, self._at(None), strict=True):
                row[:] = decode_values(decoder, count, table)
        except EndOfPrefixError:
            return symbols, False
        return symbols, True

    def bits(self, symbols: Ints) -> NDArray[np.float64]:
        """Code lengths of integers (C, n) with the tables of level 0, escapes included."""
        escaped = np.abs(symbols) > REACH
        placed = np.where(escaped, 2 * REACH + 1, symbols + REACH)
        lengths: NDArray[np.float64] = -np.log2(np.take_along_axis(self._at(None), placed, axis=1) / TOTAL)
        return lengths + ESCAPED_BITS * escaped

    def best_level_offset(self, symbols: Ints, levels: Ints, channels: ChannelSelection = ALL_CHANNELS) -> int:
        """The offset to the gain levels with which symbols take the fewest bits.

        Densities are trained with quantiser steps around one and may be poor at other steps. An encoder therefore looks
        for the best tables and sends the offset.

        Args:
            symbols: (C, n).
            levels: (C,) gain levels.
            channels: those that are coded.
        """
        entries = self._tables.shape[-1]
        placed = np.where(np.abs(symbols) > REACH, entries - 1, symbols + REACH)
        counts = np.stack([np.bincount(row, minlength=entries) for row in placed])
        bits = np.einsum("cs,cls->cl", counts, -np.log2(self._tables / TOTAL))
        offsets: Sequence[int] = range(-2 * self._levels, 2 * self._levels + 1)
        costs = [bits[np.arange(len(bits)), self._index(levels + k)][channels].sum() for k in offsets]
        return offsets[int(np.argmin(costs))]

    def _index(self, levels: Ints) -> Ints:
        index: Ints = levels.clip(-self._levels, self._levels) + self._levels
        return index

    def _at(self, levels: Ints | None) -> Ints:
        """(C, entries): the table of each channel at its gain level."""
        index = self._levels if levels is None else self._index(levels)
        chosen: Ints = self._tables[np.arange(len(self._tables)), index]
        return chosen
