"""Hyper-latents: side information z at a quarter of the latents' resolution (Ballé et al. 2018).

    encoder   y --normalise--> h_a --> z --round--> z_hat --FactorizedPrior--> bytes
    both      z_hat --h_s, in fixed point--> psi, features for the distribution of y

h_s runs in fixed-point arithmetic (components.layers.fixed_point), so psi is the same on every machine.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..coding.fixed_point import UNIT
from ..coding.range_coder import Ints, PrefixDecoder, SymbolDecoder, SymbolEncoder
from ..layers.fixed_point import fixed_point_forward, to_fixed_point
from ..layers.hyper import hyper_analysis, hyper_synthesis
from .factorized_prior import FactorizedPrior
from .relaxation import add_uniform_noise, round_straight_through
from .running_statistics import RunningStatistics

STRIDE = 4
"""Latents to hyper-latents: the ratio of their resolutions."""


class HyperLatents(nn.Module):
    """Hyper-analysis, coding of z_hat, and hyper-synthesis.

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

    def forward(self, y: Tensor, *, integers: bool, soft: bool) -> tuple[Tensor, Tensor]:
        """Features and estimated rate of the side information.

        Args:
            y: (B, channels, h, w).
            integers: run h_s in fixed-point arithmetic.
            soft: noise stands for rounding in the rate, and the running statistics are updated.

        Returns:
            psi (B, features, h, w), in fixed point if `integers`; and the bits of z, spread over the positions of y
            (B, h, w).
        """
        if soft:
            self.typical.update(y)
        z = self.analyse(y)
        z_hat = round_straight_through(z)
        bits = self.prior.bits(add_uniform_noise(z) if soft else z_hat) / STRIDE**2
        bits = bits.repeat_interleave(STRIDE, dim=1).repeat_interleave(STRIDE, dim=2)
        return fixed_point_forward(self.h_s, to_fixed_point(z_hat)) if integers else self.h_s(z_hat), bits

    def analyse(self, y: Tensor) -> Tensor:
        """The hyper-latents z (B, hyper_channels, h / 4, w / 4) of latents y, before rounding."""
        z: Tensor = self.h_a(self.typical.normalise(y.float()))
        return z

    def relaxed(self, z: Tensor, relax: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """psi (B, features, h, w) and the bits (B,) of z with `relax` in place of rounding, in floats."""
        z_hat = relax(z)
        return self.h_s(z_hat), self.prior.bits(z_hat).flatten(1).sum(dim=1)

    def encode(self, encoder: SymbolEncoder, z: Tensor) -> Tensor:
        """Round hyper-latents z (1, hyper_channels, h / 4, w / 4) and code them; psi in fixed point."""
        z_hat = z.round().double()
        self.prior.encode(encoder, z_hat[0].flatten(1).int().cpu().numpy())
        return fixed_point_forward(self.h_s, z_hat * UNIT)

    def decode(self, decoder: SymbolDecoder, height: int, width: int) -> Tensor:
        """psi in fixed point, for latents of `height` by `width`. Raises BitstreamError."""
        return self._features(self.prior.decode(decoder, height * width // STRIDE**2), height, width)

    def decode_prefix(self, decoder: PrefixDecoder, height: int, width: int) -> tuple[Tensor, bool]:
        """`decode` from a prefix: psi, and whether the prefix holds all of z_hat."""
        symbols, complete = self.prior.decode_prefix(decoder, height * width // STRIDE**2)
        return self._features(symbols, height, width), complete

    def _features(self, symbols: Ints, height: int, width: int) -> Tensor:
        z_hat = torch.from_numpy(symbols).view(1, -1, height // STRIDE, width // STRIDE)
        return fixed_point_forward(self.h_s, z_hat.to(self.typical.mean.device).double() * UNIT)
