"""Coding with a mean and a scale for each channel of each picture: components.entropy.channel_gaussian in use.

    encoder   symbols --fewest bits--> scale, mean of each channel --> side information --> range coder --> bytes
                 |                          |
                 +----values - mean---------+--> frequency table of scale, fraction of mean --> range coder --> bytes
    decoder   bytes --> scale, mean of each channel --> the same tables --> symbols

Scale and mean are coded as differences from running statistics, with Gaussian tables of the same bank. Decoding uses
integers alone.
"""

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import BitstreamError
from .escapes import decode_values, encode_values
from .fixed_point import Arrays, Values
from .gaussian_tables import FRACTIONS, SCALES, GaussianTables
from .range_coder import Ints, SymbolDecoder, SymbolEncoder


class SideInformation(NamedTuple):
    """Distribution of each channel: (C,) indices of scales in the tables, and (C,) means in quarters of a step."""

    scale: Ints
    mean: Ints


class ChannelGaussianCoder:
    """A code y (C, h, w) to bytes, and back. Arrays: the Gaussian tables', scale and mean of a SideInformation."""

    def __init__(self, _structure: Mapping[str, Any], arrays: Arrays):
        self._tables = GaussianTables(arrays)
        self._running = SideInformation(arrays["scale"].astype(np.int32), arrays["mean"].astype(np.int32))

    def encode(self, y: Values, gain: float) -> tuple[bytes, ...]:
        """Code y (C, h, w), quantised with steps of 1 / gain, to one section: the gain as float32, the symbols."""
        symbols = np.round(y.astype(np.float32) * np.float32(gain)).astype(np.int32)
        return (struct.pack("<f", gain) + self.encode_symbols(symbols),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Values:
        """Inverse of `encode`: quantised code of that shape, in float32. Raises BitstreamError."""
        if len(sections) != 1 or len(sections[0]) < 4:
            raise BitstreamError("corrupted bitstream: one section with a gain was expected")
        (gain,) = struct.unpack_from("<f", sections[0])
        if not (math.isfinite(gain) and gain > 0):
            raise BitstreamError("corrupted bitstream: the gain is not a positive number")
        return self.decode_symbols(sections[0][4:], shape).astype(np.float32) / np.float32(gain)  # type: ignore[return-value]

    def encode_symbols(self, symbols: Ints) -> bytes:
        """Integer symbols (C, h, w) to bytes. Raises ValueError for symbols beyond 2^18, which no trained codec has."""
        channels = symbols.reshape(len(symbols), -1)
        side = self.fit_side_information(channels)
        encoder = SymbolEncoder()
        self._encode_side(encoder, side)
        for values, scale, mean in zip(channels, side.scale, side.mean, strict=True):
            whole, fraction = _split_mean(mean)
            encode_values(encoder, values - whole, self._table(scale, fraction))
        return encoder.finish()

    def decode_symbols(self, data: bytes, shape: tuple[int, int, int]) -> Ints:
        """Inverse of `encode_symbols`: symbols of that shape. Raises BitstreamError for bytes that no encoder wrote."""
        decoder = SymbolDecoder(data)
        side = self._decode_side(decoder)
        symbols = np.empty((shape[0], shape[1] * shape[2]), dtype=np.int32)
        for channel, (scale, mean) in enumerate(zip(side.scale, side.mean, strict=True)):
            whole, fraction = _split_mean(mean)
            symbols[channel] = decode_values(decoder, symbols.shape[1], self._table(scale, fraction)) + whole
        return symbols.reshape(shape)

    def fit_side_information(self, channels: Ints) -> SideInformation:
        """The scale and the mean that code each row of symbols (C, n) in the fewest bits, the mean near the median."""
        reach = int(self._tables.supports[-1])
        centres: Ints = np.asarray(np.round(np.median(channels, axis=1)), dtype=np.int32)
        placed = np.clip(channels - centres[:, None], -reach, reach) + reach
        width = 2 * reach + 1
        flat = (placed + width * np.arange(len(channels))[:, None]).ravel()
        histograms = np.bincount(flat, minlength=width * len(channels)).reshape(len(channels), width)
        best = (histograms @ self._tables.bits).argmin(axis=1).astype(np.int32)
        scale, fraction = best // FRACTIONS, best % FRACTIONS
        return SideInformation(scale, FRACTIONS * centres + fraction - FRACTIONS // 2)

    def _encode_side(self, encoder: SymbolEncoder, side: SideInformation) -> None:
        """Code one shift of all scales, then differences from the running statistics with the cheapest table."""
        running = self._running
        shift = int(np.clip(np.round(np.median(side.scale - running.scale)), -SCALES, SCALES))
        encoder.encode_uniform(np.array([shift + SCALES], dtype=np.int32), 2 * SCALES + 1)
        for deltas in (side.scale - running.scale - shift, side.mean - running.mean):
            table = int(self._scale_of_deltas(deltas))
            encoder.encode_uniform(np.array([table], dtype=np.int32), SCALES)
            encode_values(encoder, deltas, self._table(table, FRACTIONS // 2))

    def _decode_side(self, decoder: SymbolDecoder) -> SideInformation:
        running = self._running
        shift = int(decoder.decode_uniform(1, 2 * SCALES + 1)[0]) - SCALES
        parts = []
        for expected in (running.scale + shift, running.mean):
            table = int(decoder.decode_uniform(1, SCALES)[0])
            parts.append(expected + decode_values(decoder, len(expected), self._table(table, FRACTIONS // 2)))
        if parts[0].min() < 0 or parts[0].max() >= SCALES:
            raise BitstreamError("corrupted bitstream: a channel names a table that does not exist")
        return SideInformation(parts[0], parts[1])

    def _table(self, scale: int, fraction: int) -> Ints:
        return self._tables.tables[scale * FRACTIONS + fraction]

    def _scale_of_deltas(self, deltas: Ints) -> int:
        """The scale whose table codes differences (C,) in the fewest bits."""
        reach = int(self._tables.supports[-1])
        placed = np.clip(deltas, -reach, reach) + reach
        return int(self._tables.bits[placed, FRACTIONS // 2 :: FRACTIONS].sum(axis=0).argmin())


def _split_mean(mean: int) -> tuple[int, int]:
    """A mean in quarters of a step as its whole part and the index of its fraction."""
    shifted = int(mean) + FRACTIONS // 2
    return shifted // FRACTIONS, shifted % FRACTIONS
