"""Hyper-latents: side information z at a quarter of the latents' resolution (Ballé et al. 2018).

    y --normalise--> h_a --> z --round--> z_hat --FactorizedPrior--> bits
    z_hat --h_s--> psi, features for the distribution of y

Coders run h_s in fixed-point arithmetic (components.coding), so psi is the same on every machine.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..coding.fixed_point import Values
from ..coding.hyper_latents import STRIDE
from ..layers.hyper import hyper_analysis, hyper_synthesis
from .factorized_prior import FactorizedPrior
from .relaxation import add_uniform_noise, round_straight_through
from .running_statistics import RunningStatistics


class HyperLatents(nn.Module):
    """Hyper-analysis, rate of z_hat, and hyper-synthesis.

    Args:
        channels: of the latents y (B, channels, h, w), h and w multiples of 4.
        hyper_channels: of z (B, hyper_channels, h / 4, w / 4).
        features: of psi (B, features, h, w).
    """

    def __init__(self, channels: int, hyper_channels: int, features: int):
        super().__init__()
        self.h_a = hyper_analysis(channels, hyper_channels)
        self.h_s = hyper_synthesis(hyper_channels, features)
        self.typical = RunningStatistics(channels)
        self.prior = FactorizedPrior(hyper_channels)

    def forward(self, y: Tensor, *, soft: bool) -> tuple[Tensor, Tensor]:
        """Features and estimated rate of the side information.

        Args:
            y: (B, channels, h, w).
            soft: noise stands for rounding in the rate, and the running statistics are updated.

        Returns:
            psi (B, features, h, w); and the bits of z, spread over the positions of y (B, h, w).
        """
        if soft:
            self.typical.update(y)
        z = self.analyse(y)
        z_hat = round_straight_through(z)
        bits = self.prior.bits(add_uniform_noise(z) if soft else z_hat) / STRIDE**2
        bits = bits.repeat_interleave(STRIDE, dim=1).repeat_interleave(STRIDE, dim=2)
        return self.h_s(z_hat), bits

    def analyse(self, y: Tensor) -> Tensor:
        """The hyper-latents z (B, hyper_channels, h / 4, w / 4) of latents y, before rounding."""
        z: Tensor = self.h_a(self.typical.normalise(y.float()))
        return z

    def relaxed(self, z: Tensor, relax: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """psi (B, features, h, w) and the bits (B,) of z with `relax` in place of rounding, in floats."""
        z_hat = relax(z)
        return self.h_s(z_hat), self.prior.bits(z_hat).flatten(1).sum(dim=1)

    def estimated(
        self, y: Tensor, estimate: Callable[[Values, Values], tuple[Values, Values]]
    ) -> tuple[Tensor, Tensor]:
        """The quantised latents and the bits of a batch as a coder has them, without a gradient.

        Args:
            y: (B, channels, h, w).
            estimate: Of a coder: y and z of a picture to quantised latents and bits at each position.

        Returns:
            (B, channels, h, w), and (B, h, w).
        """
        both = zip(*(each.detach().double().cpu().numpy() for each in (y, self.analyse(y))), strict=True)
        estimates = zip(*(estimate(latents, side) for latents, side in both), strict=True)
        y_hat, bits = (torch.from_numpy(np.stack(each)).to(y) for each in estimates)
        return y_hat, bits
