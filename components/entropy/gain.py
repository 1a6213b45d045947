"""Gain vectors: quantiser steps of each channel at a rate, in integers that encoder and decoder share.

One checkpoint serves a range of rates: latents are multiplied by a gain before rounding and divided by it afterwards
(gain units as in Cui et al., "Asymmetric gained deep image compression", CVPR 2021).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..coding.fixed_point import ACTIVATION_BITS
from ..coding.gain import EXPONENT_BITS, FACTOR_BITS, LARGEST_SHIFT, LOG_GAIN_UNIT
from ..layers.fixed_point import rounding_shift, to_fixed_point
from .integers import Integers, fixed_point, stored


class Quantiser(NamedTuple):
    """Uniform quantiser of each channel, as integers in float64 (C, 1, 1).

    gain: in 2^-FACTOR_BITS. step: 1 / gain, likewise. shift: the logarithm of the gain in units of LOG_GAIN_UNIT, which
    is 1 / UNITS_PER_TABLE of the distance between two Gaussian tables.
    """

    gain: Tensor
    step: Tensor
    shift: Tensor

    def quantise(self, distance: Tensor) -> Tensor:
        """Fixed-point values (C, ...) to symbols: the nearest multiples of the step, in float64."""
        return (distance * self.gain * 2.0 ** -(FACTOR_BITS + ACTIVATION_BITS)).round()

    def dequantise(self, symbols: Tensor) -> Tensor:
        """Symbols (C, ...) to multiples of the step, in fixed point (components.layers.fixed_point)."""
        return rounding_shift(symbols * self.step, FACTOR_BITS - ACTIVATION_BITS)


class GainVector(nn.Module):
    """Gain of each channel as a power of one gain: channel c is quantised with steps of gain^-exponent_c.

    Groups of channels share an exponent. The exponents are learned where training varies the gain: away from the rate
    that it was trained for, a codec does best to coarsen some channels more than others. A stream holds the logarithm
    of the gain as one 16-bit integer, the shift. Exponentials come from a table in the checkpoint.

    Args:
        channels: of the latents.
        groups: of channels that share an exponent.
    """

    factors: Tensor
    group_of: Tensor

    def __init__(self, channels: int, groups: int = 8):
        super().__init__()
        self.groups = min(groups, channels)
        self.exponent = nn.Parameter(torch.ones(self.groups))
        self.register_buffer("group_of", torch.arange(channels) * self.groups // channels, persistent=False)
        shifts = range(-LARGEST_SHIFT, LARGEST_SHIFT + 1)
        factors = [round(math.exp(shift * LOG_GAIN_UNIT) * 2**FACTOR_BITS) for shift in shifts]
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.int32))

    def forward(self, log_gain: Tensor) -> Tensor:
        """Log-gain of each image (B,) to the gain of every channel (B, C, 1, 1), with gradients to the exponents."""
        return (log_gain[:, None] * self.exponent[self.group_of]).exp()[:, :, None, None]

    def quantiser(self, shift: int) -> Quantiser:
        """The quantiser of a shift, from integers alone."""
        exponent = to_fixed_point(self.exponent, EXPONENT_BITS)[self.group_of]
        shifts = rounding_shift(shift * exponent, EXPONENT_BITS).clamp_(-LARGEST_SHIFT, LARGEST_SHIFT)
        factor = self.factors[shifts.long() + LARGEST_SHIFT].long()
        step = ((1 << 2 * FACTOR_BITS) + factor // 2) // factor
        gain, step, shifts = (value.double()[:, None, None] for value in (factor, step, shifts))
        return Quantiser(gain, step, shifts)

    def integers(self) -> Integers:
        """What components.coding.gain.Gains takes."""
        exponent = fixed_point(self.exponent, EXPONENT_BITS)[stored(self.group_of)]
        return {"gains.exponent": exponent, "gains.factors": stored(self.factors)}
