"""Hyper-latents: a coarse image z, coded first, that tells the decoder about the latents y.

encoder: y -> h_a -> round -> z_hat -> bytes
both:    z_hat -> h_s -> psi, in integers (components.layers.fixed_point), the same on every machine
"""

import torch
from torch import Tensor, nn

from components.entropy.factorized_prior import FactorizedPrior
from components.entropy.range_coder import Ints, PrefixDecoder, SymbolDecoder, SymbolEncoder
from components.entropy.relaxation import add_uniform_noise, round_straight_through
from components.entropy.running_statistics import RunningStatistics
from components.layers.fixed_point import UNIT, fixed_point_forward, to_fixed_point
from components.layers.hyper import hyper_analysis, hyper_synthesis

STRIDE = 4
"""Hyper-latents are coarser than latents by this factor."""


class HyperLatents(nn.Module):
    """Latents y (B, channels, h, w), h and w multiples of 4, to features psi (B, features, h, w), by way of bytes."""

    def __init__(self, channels: int, hyper_channels: int, features: int):
        super().__init__()
        self.h_a = hyper_analysis(channels, hyper_channels)
        self.h_s = hyper_synthesis(hyper_channels, features)
        self.typical = RunningStatistics(channels)
        self.prior = FactorizedPrior(hyper_channels)

    def forward(self, y: Tensor, *, integers: bool) -> tuple[Tensor, Tensor]:
        """psi, in fixed point or as floats, and the bits of z at each position of y (B, h, w)."""
        if self.training:
            self.typical.update(y)
        z = self.h_a(self.typical.normalise(y))
        z_hat = round_straight_through(z)
        bits = self.prior.bits(add_uniform_noise(z) if self.training else z_hat) / STRIDE**2
        bits = bits.repeat_interleave(STRIDE, dim=1).repeat_interleave(STRIDE, dim=2)
        return fixed_point_forward(self.h_s, to_fixed_point(z_hat)) if integers else self.h_s(z_hat), bits

    def encode(self, encoder: SymbolEncoder, y: Tensor) -> Tensor:
        """Code what y (1, C, h, w) needs; psi in fixed point."""
        z_hat = self.h_a(self.typical.normalise(y.float())).round().double()
        self.prior.encode(encoder, z_hat[0].flatten(1).int().cpu().numpy())
        return fixed_point_forward(self.h_s, z_hat * UNIT)

    def decode(self, decoder: SymbolDecoder, height: int, width: int) -> Tensor:
        """psi in fixed point, for latents of `height` by `width`. Raises BitstreamError."""
        return self._told(self.prior.decode(decoder, height * width // STRIDE**2), height, width)

    def decode_prefix(self, decoder: PrefixDecoder, height: int, width: int) -> tuple[Tensor, bool]:
        """`take` from a prefix: psi, and whether that had all of z."""
        symbols, complete = self.prior.decode_prefix(decoder, height * width // STRIDE**2)
        return self._told(symbols, height, width), complete

    def _told(self, symbols: Ints, height: int, width: int) -> Tensor:
        z_hat = torch.from_numpy(symbols).view(1, -1, height // STRIDE, width // STRIDE)
        return fixed_point_forward(self.h_s, z_hat.to(self.typical.mean.device).double() * UNIT)
