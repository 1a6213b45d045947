"""Coding with a factorized prior alone: components.entropy.factorized_model in use.

    y --* gain--> round --> symbols --channel tables of the gain level--> range coder --> bytes
                                                                                          |
    y_hat <--* step-- symbols <--the same tables-- shift, offset, channel flags, symbols <-

A section is the shift of the gain (int16), the offset of the gain levels (int8), and the range coder's words.
"""

import struct
from typing import TypedDict

import numpy as np

from ..errors import BitstreamError
from .channel_flags import decode_flags, encode_flags
from .channel_tables import ALL_CHANNELS, ChannelTables
from .fixed_point import UNIT, Arrays, Values, rounding_shift
from .gain import FACTOR_BITS, Gains, Quantiser, pack_shift, shift_of, unpack_shift
from .range_coder import Ints, SymbolDecoder, SymbolEncoder

GAIN_LEVELS_PER_OCTAVE = 8
# Shifts in 2^-16 of a gain level; the literal is
# round(2^16 * GAIN_LEVELS_PER_OCTAVE * STEP / (UNITS_PER_TABLE * log(2))).
GAIN_LEVEL_PER_SHIFT = 400


class FactorizedStructure(TypedDict):
    """What the arrays are for. channel_flags: code first which channels are not all zero, and then these alone."""

    channel_flags: bool


class FactorizedCoder:
    """Latents y (C, h, w) that are independent given their channel to bytes, and back."""

    def __init__(self, structure: FactorizedStructure, arrays: Arrays):
        self._gains, self._prior = Gains(arrays), ChannelTables(arrays["prior"].astype(np.int32))
        self._flags = structure["channel_flags"]

    def encode(self, y: Values, gain: float) -> tuple[bytes, ...]:
        """Latents, quantised with steps of 1 / gain, to one section."""
        shift = shift_of(gain)
        quantiser = self._gains.quantiser(shift)
        symbols = np.round(y * quantiser.gain * 2.0**-FACTOR_BITS).reshape(len(y), -1).astype(np.int32)
        levels = _levels(quantiser)
        encoder = SymbolEncoder()
        channels = encode_flags(encoder, np.any(symbols, axis=1)) if self._flags else ALL_CHANNELS
        offset = self._prior.best_level_offset(symbols, levels, channels)
        self._prior.encode(encoder, symbols, levels + offset, channels)
        return (pack_shift(shift) + struct.pack("<b", offset) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Values:
        """The quantised latents of that shape. Raises BitstreamError."""
        shift, data = unpack_shift(sections)
        if not data:
            raise BitstreamError("corrupted bitstream: it ends in its header")
        (offset,) = struct.unpack_from("<b", data)
        quantiser, decoder = self._gains.quantiser(shift), SymbolDecoder(data[1:])
        channels = decode_flags(decoder, shape[0]) if self._flags else ALL_CHANNELS
        symbols = self._prior.decode(decoder, shape[1] * shape[2], _levels(quantiser) + offset, channels)
        return quantiser.dequantise(symbols.reshape(shape).astype(np.float64)) / UNIT


def _levels(quantiser: Quantiser) -> Ints:
    """(C,) gain level of each channel, from its shift in integer arithmetic."""
    return rounding_shift(quantiser.shift * GAIN_LEVEL_PER_SHIFT, 16).ravel().astype(np.int32)
