"""Importance map of the PMSC codec (paper 000; Nandi and Gandhi 2024, after Fu et al. 2022): one scale a latent."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .residual import conv3x3, residual_block

_BLOCKS = 3
_SATURATED = 2.0  # where tanh is 0.96: at first, everything is important
_SMALL_INIT = 0.1


class Importance(nn.Module):
    """Importance map m = 2 softsign(tanh(w)) in [-1, 1]; w is a convolution and three residual blocks of y.

    The map is multiplied into y before quantisation and not sent. Latents that it shrinks to zero cost next to nothing,
    and the decoder needs no map. softsign(n) = n / (1 + |n|) takes the tanh to [-1/2, 1/2], so the paper's map halves
    even the most important latents. The factor 2 undoes that: the halving would only be a coarser quantiser.
    """

    def __init__(self, channels: int):
        super().__init__()
        first = conv3x3(channels, channels)
        with torch.no_grad():
            first.weight.mul_(_SMALL_INIT)
        nn.init.constant_(first.bias, _SATURATED)  # type: ignore[arg-type]
        self.w = nn.Sequential(first, *(residual_block(channels) for _ in range(_BLOCKS)))

    def forward(self, y: Tensor) -> Tensor:
        """Latents y (B, C, h, w) to their map (B, C, h, w)."""
        return 2 * F.softsign(torch.tanh(self.w(y)))
