"""Gains: quantiser steps of each channel at a rate, in integers that encoder and decoder share.

A stream holds the logarithm of the gain as one 16-bit integer, the shift. Exponentials come from a table in the
checkpoint (components.entropy.gain).
"""

import math
import struct
from typing import NamedTuple

import numpy as np

from ..errors import BitstreamError
from .fixed_point import ACTIVATION_BITS, Arrays, Values, rounding_shift
from .gaussian_tables import STEP, UNITS_PER_TABLE

FACTOR_BITS = 16
"""Fractional bits of gains and steps."""
EXPONENT_BITS = 6
"""Fractional bits of the channels' exponents."""
LOG_GAIN_UNIT = STEP / UNITS_PER_TABLE
"""What one unit of a shift adds to the logarithm of the gain."""
LARGEST_SHIFT = 20 * UNITS_PER_TABLE


class Quantiser(NamedTuple):
    """Uniform quantiser of each channel, as integers (C, 1, 1).

    gain: in 2^-FACTOR_BITS. step: 1 / gain, likewise. shift: the logarithm of the gain in units of LOG_GAIN_UNIT, which
    is 1 / UNITS_PER_TABLE of the distance between two Gaussian tables.
    """

    gain: Values
    step: Values
    shift: Values

    def of(self, channels: slice) -> "Quantiser":
        """The quantiser of some channels."""
        return Quantiser(*(each[channels] for each in self))

    def dequantise(self, symbols: Values) -> Values:
        """Symbols (C, h, w) to multiples of the step, in fixed point."""
        return rounding_shift(symbols * self.step, FACTOR_BITS - ACTIVATION_BITS)


class Gains:
    """The quantisers of a codec. Arrays: gains.exponent (C,) in 2^-EXPONENT_BITS, and gains.factors."""

    def __init__(self, arrays: Arrays):
        self._exponent: Values = arrays["gains.exponent"].astype(np.float64)
        self._factors = arrays["gains.factors"].astype(np.int64)

    def quantiser(self, shift: int) -> Quantiser:
        """The quantiser of a shift."""
        shifts = rounding_shift(shift * self._exponent, EXPONENT_BITS).clip(-LARGEST_SHIFT, LARGEST_SHIFT)
        factor = self._factors[shifts.astype(np.int64) + LARGEST_SHIFT]
        step = ((1 << 2 * FACTOR_BITS) + factor // 2) // factor
        return Quantiser(*(value.astype(np.float64)[:, None, None] for value in (factor, step, shifts)))


def shift_of(gain: float) -> int:
    """The shift nearest to a positive gain."""
    return max(-LARGEST_SHIFT, min(LARGEST_SHIFT, round(math.log(gain) / LOG_GAIN_UNIT)))


def pack_shift(shift: int) -> bytes:
    """The first two bytes of a section."""
    return struct.pack("<h", shift)


def unpack_shift(sections: tuple[bytes, ...]) -> tuple[int, bytes]:
    """The shift at the head of the only section, and the bytes after it. Raises BitstreamError."""
    if len(sections) != 1 or len(sections[0]) < 2:
        raise BitstreamError("corrupted bitstream: one section with a gain was expected")
    (shift,) = struct.unpack_from("<h", sections[0])
    if abs(shift) > LARGEST_SHIFT:
        raise BitstreamError("corrupted bitstream: the gain is out of range")
    return shift, sections[0][2:]
