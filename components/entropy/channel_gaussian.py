"""Gaussian entropy model with a mean and a scale for each channel of each image, sent as side information.

The entropy model of the Wavelet CAE (paper 004; Akyazi and Ebrahimi, CVPR Workshops 2019, equation 3).
components.coding.channel_gaussian has it in use.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..coding.channel_gaussian import ChannelGaussianCoder
from ..coding.gaussian_tables import FRACTIONS, SMALLEST, table_index
from .gaussian_tables import GaussianTableBuffers
from .integers import CodingModule, Integers, fixed_point, stored
from .relaxation import EntropyOutput, add_uniform_noise, gaussian_likelihood, position_bits
from .running_statistics import RunningStatistics


class ChannelGaussian(CodingModule[ChannelGaussianCoder]):
    """Rate of a code y (B, C, h, w) with a Gaussian for each image and channel, and its coding to bytes."""

    def __init__(self, channels: int):
        super().__init__()
        self.tables = GaussianTableBuffers()
        self.typical = RunningStatistics(channels)

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """Quantised code and its estimated rate without side information, in float32.

        Training adds uniform noise of one quantiser step; evaluation rounds. The Gaussian has the mean and the variance
        of the code itself, per image and channel; its integral over a quantisation interval is the likelihood.

        Args:
            y: (B, C, h, w).
            gain: the quantiser step is 1 / gain.
        """
        with torch.autocast(y.device.type, enabled=False):
            y = y.float() * gain
            variance, mean = torch.var_mean(y, dim=(2, 3), correction=0, keepdim=True)
            scale = variance.clamp_min(SMALLEST**2).sqrt()
            if self.training:
                y_hat = add_uniform_noise(y)
                self.typical.update(y)
            else:
                y_hat = y.round()
            return EntropyOutput(y_hat / gain, position_bits(gaussian_likelihood(y_hat - mean, scale)))

    def coding_parts(self) -> tuple[Mapping[str, Any], Integers]:
        """What a ChannelGaussianCoder is made of; the running statistics in the units of its side information."""
        running: Integers = {
            "scale": table_index(fixed_point(self.typical.log_scale).astype(np.float64)).astype(np.int32),
            "mean": stored((self.typical.mean * FRACTIONS).round().int()),
        }
        return {}, {**self.tables.integers(), **running}

    def new_coder(self) -> ChannelGaussianCoder:
        """See CodingModule."""
        return ChannelGaussianCoder(*self.coding_parts())

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Code y (1, C, h, w), quantised with steps of 1 / gain, to one section: the gain as float32, the symbols."""
        return self.coder.encode(y[0].double().cpu().numpy(), gain)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """Inverse of `encode`: quantised code (1, *shape). Raises BitstreamError."""
        return torch.from_numpy(self.coder.decode(sections, shape))[None].to(self.typical.mean.device)
