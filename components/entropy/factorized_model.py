"""Entropy model with a factorized prior alone, and a variable rate (Ballé et al. 2018 without hyperprior).

    y --* gain--> round --> symbols --FactorizedPrior, tables of the gain level--> range coder --> bytes
                                                                                                  |
    y_hat <--* step-- symbols <--the same tables-- shift, offset, channel flags, symbols <---------

A section is the shift of the gain (int16), the offset of the gain levels (int8), and the range coder's words.
"""

import struct
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BitstreamError
from ..layers.fixed_point import UNIT, rounding_shift
from .channel_flags import decode_flags, encode_flags
from .factorized_prior import ALL_CHANNELS, FactorizedPrior
from .gain import FACTOR_BITS, GainVector, Quantiser, pack_shift, unpack_shift
from .range_coder import Ints, SymbolDecoder, SymbolEncoder
from .relaxation import (
    EntropyOutput,
    add_uniform_noise,
    constant_log_gain,
    round_straight_through,
    sample_log_gain,
)

# Shifts in 2^-16 of a gain level; the literal is
# round(2^16 * GAIN_LEVELS_PER_OCTAVE * STEP / (UNITS_PER_TABLE * log(2))).
GAIN_LEVEL_PER_SHIFT = 400


class FactorizedModel(nn.Module):
    """Entropy model of latents y (B, C, h, w) that are independent given their channel, with a gain for each channel.

    Args:
        channels: C.
        gain_range: training draws the log-gain of each image from -gain_range to gain_range.
        channel_flags: code first which channels are not all zero, and then these alone.
    """

    _GAIN_LEVELS: ClassVar[int] = 12  # an octave and a half of gain on either side of 1

    def __init__(self, channels: int, *, gain_range: float, channel_flags: bool = False):
        super().__init__()
        self.channel_flags = channel_flags
        self.gains = GainVector(channels)
        self.prior = FactorizedPrior(channels, self._GAIN_LEVELS)
        self.gain_range = gain_range

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """Quantised latents and their estimated rate, in float32.

        Training uses straight-through rounding for the picture and additive noise for the rate, at random gains.

        Args:
            y: (B, C, h, w).
            gain: of every image in evaluation.
        """
        with torch.autocast(y.device.type, enabled=False):
            y = y.float()
            log_gain = sample_log_gain(y, self.gain_range) if self.training else constant_log_gain(y, gain)
            gains = self.gains(log_gain)
            y_hat = round_straight_through(y * gains) / gains
            bits = self.prior.bits(add_uniform_noise(y, 1 / gains) if self.training else y_hat, 1 / gains)
            return EntropyOutput(y_hat, bits, log_gain)

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Latents y (1, C, h, w), quantised with steps of 1 / gain, to one section."""
        shift = self.gains.shift_of(gain)
        quantiser = self.gains.quantiser(shift)
        symbols = (y[0].double() * quantiser.gain * 2.0**-FACTOR_BITS).round().flatten(1).int().cpu().numpy()
        levels = _gain_levels(quantiser)
        encoder = SymbolEncoder()
        channels = encode_flags(encoder, np.any(symbols, axis=1)) if self.channel_flags else ALL_CHANNELS
        offset = self.prior.best_level_offset(symbols, levels, channels)
        self.prior.encode(encoder, symbols, levels + offset, channels)
        return (pack_shift(shift) + struct.pack("<b", offset) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """Inverse of `encode`: quantised latents (1, *shape). Raises BitstreamError."""
        shift, data = unpack_shift(sections)
        if not data:
            raise BitstreamError("corrupted bitstream: it ends in its header")
        (offset,) = struct.unpack_from("<b", data)
        quantiser = self.gains.quantiser(shift)
        levels = _gain_levels(quantiser) + offset
        decoder = SymbolDecoder(data[1:])
        channels = decode_flags(decoder, shape[0]) if self.channel_flags else ALL_CHANNELS
        symbols = self.prior.decode(decoder, shape[1] * shape[2], levels, channels).reshape(shape)
        restored = quantiser.dequantise(torch.from_numpy(symbols).to(quantiser.step.device))
        return (restored / UNIT).float()[None]


def _gain_levels(quantiser: Quantiser) -> Ints:
    """(C,) gain level of each channel, from its shift in integer arithmetic."""
    levels: Ints = rounding_shift(quantiser.shift * GAIN_LEVEL_PER_SHIFT, 16).flatten().int().cpu().numpy()
    return levels
