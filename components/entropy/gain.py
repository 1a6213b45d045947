"""The gain vector: how fine each channel is quantised at a rate, in integers that both sides share."""

import math
import struct
from typing import NamedTuple

import torch
from torch import Tensor, nn

from components.entropy.gaussian_tables import STEP, UNITS_PER_TABLE
from components.errors import BitstreamError
from components.layers.fixed_point import ACTIVATION_BITS, rounding_shift, to_fixed_point

FACTOR_BITS = 16

LOG_GAIN_UNIT = STEP / UNITS_PER_TABLE
"""What one unit of a shift adds to the logarithm of the gain."""

_LARGEST_SHIFT = 20 * UNITS_PER_TABLE
_EXPONENT_BITS = 6


class Quantiser(NamedTuple):
    """Integers, as float64 (C, 1, 1): each channel's gain in 2^-16, its step (1 / gain) likewise, and its shift.

    A shift is the logarithm of a gain in units of 1 / UNITS_PER_TABLE of the distance between two Gaussian tables.
    """

    gain: Tensor
    step: Tensor
    shift: Tensor

    def quantise(self, distance: Tensor) -> Tensor:
        """Distances (C, ...) in the fixed point of exact networks to the nearest multiples of the step, as integers."""
        return (distance * self.gain * 2.0 ** -(FACTOR_BITS + ACTIVATION_BITS)).round()

    def dequantise(self, symbols: Tensor) -> Tensor:
        """Integer symbols (C, ...) to multiples of the step in the fixed point of exact networks."""
        return rounding_shift(symbols * self.step, FACTOR_BITS - ACTIVATION_BITS)


class GainVector(nn.Module):
    """Channel c is quantised with steps of gain^-exponent_c; one exponent for each group of channels.

    The exponents are learned, where training lets gains vary: at another rate than its own, a codec does best to
    coarsen some channels more than others. A stream holds the logarithm of the gain as one integer of 16 bits, a
    shift; exponentials come from a table in the checkpoint.
    """

    factors: Tensor
    group_of: Tensor

    def __init__(self, channels: int, groups: int = 8):
        super().__init__()
        self.groups = min(groups, channels)
        self.exponent = nn.Parameter(torch.ones(self.groups))
        self.register_buffer("group_of", torch.arange(channels) * self.groups // channels, persistent=False)
        shifts = range(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1)
        factors = [round(math.exp(shift * LOG_GAIN_UNIT) * 2**FACTOR_BITS) for shift in shifts]
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.int32))

    def forward(self, log_gain: Tensor) -> Tensor:
        """(B,) logarithms to the gain of every channel (B, C, 1, 1)."""
        return (log_gain[:, None] * self.exponent[self.group_of]).exp()[:, :, None, None]

    @staticmethod
    def shift_of(gain: float) -> int:
        """The shift nearest to a positive gain."""
        shift = round(math.log(gain) / LOG_GAIN_UNIT)
        return max(-_LARGEST_SHIFT, min(_LARGEST_SHIFT, shift))

    def quantiser(self, shift: int) -> Quantiser:
        """What a stream's shift stands for."""
        exponent = to_fixed_point(self.exponent, _EXPONENT_BITS)[self.group_of]
        shifts = rounding_shift(shift * exponent, _EXPONENT_BITS).clamp_(-_LARGEST_SHIFT, _LARGEST_SHIFT)
        factor = self.factors[shifts.long() + _LARGEST_SHIFT].long()
        step = ((1 << 2 * FACTOR_BITS) + factor // 2) // factor
        gain, step, shifts = (value.double()[:, None, None] for value in (factor, step, shifts))
        return Quantiser(gain, step, shifts)


def pack_shift(shift: int) -> bytes:
    """What a stream starts with."""
    return struct.pack("<h", shift)


def unpack_shift(sections: tuple[bytes, ...]) -> tuple[int, bytes]:
    """The shift at the head of the one section, and what follows. Raises BitstreamError."""
    if len(sections) != 1 or len(sections[0]) < 2:
        raise BitstreamError("corrupted bitstream: one section with a gain was expected")
    (shift,) = struct.unpack_from("<h", sections[0])
    if abs(shift) > _LARGEST_SHIFT:
        raise BitstreamError("corrupted bitstream: the gain is out of range")
    return shift, sections[0][2:]
