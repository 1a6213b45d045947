"""Entropy model with a factorized prior alone, and a variable rate (Ballé et al. 2018 without hyperprior).

components.coding.factorized has it in use.
"""

from typing import ClassVar

import torch
from torch import Tensor

from ..coding.factorized import FactorizedCoder, FactorizedStructure
from .factorized_prior import FactorizedPrior
from .gain import GainVector
from .integers import CodingModule, Integers
from .relaxation import (
    EntropyOutput,
    add_uniform_noise,
    constant_log_gain,
    round_straight_through,
    sample_log_gain,
)


class FactorizedModel(CodingModule[FactorizedCoder]):
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

    def coding_parts(self) -> tuple[FactorizedStructure, Integers]:
        """What a FactorizedCoder is made of."""
        return FactorizedStructure(channel_flags=self.channel_flags), {**self.gains.integers(), **self.prior.integers()}

    def new_coder(self) -> FactorizedCoder:
        """See CodingModule."""
        return FactorizedCoder(*self.coding_parts())

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Latents y (1, C, h, w), quantised with steps of 1 / gain, to one section."""
        return self.coder.encode(y[0].double().cpu().numpy(), gain)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """Inverse of `encode`: quantised latents (1, *shape). Raises BitstreamError."""
        return torch.from_numpy(self.coder.decode(sections, shape))[None].to(self.gains.factors.device).float()
