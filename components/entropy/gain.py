"""Gain vectors: the gain of each channel at a rate; components.coding.gain has them in use, in integers.

One checkpoint serves a range of rates: latents are multiplied by a gain before rounding and divided by it afterwards
(gain units as in Cui et al., "Asymmetric gained deep image compression", CVPR 2021).
"""

import math

import torch
from torch import Tensor, nn

from ..coding.gain import EXPONENT_BITS, FACTOR_BITS, LARGEST_SHIFT, LOG_GAIN_UNIT
from .integers import Integers, fixed_point, stored


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

    def integers(self) -> Integers:
        """What components.coding.gain.Gains takes."""
        exponent = fixed_point(self.exponent, EXPONENT_BITS)[stored(self.group_of)]
        return {"gains.exponent": exponent, "gains.factors": stored(self.factors)}
