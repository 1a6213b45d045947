"""The importance map (paper 000, after Fu et al. 2022): how much of each latent is worth its bits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.layers.residual import conv3x3, residual_block

_BLOCKS = 3
_SATURATED = 2.0  # where tanh is 0.96: at first, everything is important
_SMALL_INIT = 0.1


class Importance(nn.Module):
    """y (B, C, h, w) to 2 softsign(tanh(w)), from -1 to 1, where w is one convolution and three residual blocks of y.

    softsign(n) = n / (1 + |n|) takes the tanh to [-1/2, 1/2], so the paper's map halves what is most important. The
    factor 2 undoes that: the halving would only be a coarser quantiser. The map is multiplied into y before
    quantisation and not sent: what it shrinks to nothing costs next to nothing, and the decoder never asks why.
    """

    def __init__(self, channels: int):
        super().__init__()
        first = conv3x3(channels, channels)
        with torch.no_grad():
            first.weight.mul_(_SMALL_INIT)
        nn.init.constant_(first.bias, _SATURATED)  # type: ignore[arg-type]
        self.w = nn.Sequential(first, *(residual_block(channels) for _ in range(_BLOCKS)))

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        return 2 * F.softsign(torch.tanh(self.w(y)))
