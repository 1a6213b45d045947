"""Wavelet spatial attention (paper 000, after Yang et al. 2023)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.layers.haar import dwt

_REDUCTION = 2
_NEARLY_CLOSED = -3.0


class WaveletAttention(nn.Module):
    """x + x * M, where M comes from the bands of x: W = cat(LL, LL + LH + HH), M = sigmoid(FC(relu(FC(W)))).

    The paper leaves open what FC mixes. Here it is the channels of each position of the bands, so that pictures may
    have any size: the map has half the resolution of x, and a value for each channel. The sum with x is the
    residual connection that goes around the module; it starts as almost all that there is.
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // _REDUCTION
        gate = nn.Conv2d(hidden, channels, 1)
        nn.init.constant_(gate.bias, _NEARLY_CLOSED)  # type: ignore[arg-type]
        self.fc = nn.Sequential(nn.Conv2d(2 * channels, hidden, 1), nn.ReLU(inplace=True), gate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), H and W even, to the same shape."""
        low, details = dwt(x)
        horizontal, _, diagonal = details.chunk(3, dim=1)
        attention = torch.sigmoid(self.fc(torch.cat((low, low + horizontal + diagonal), dim=1)))
        return x + x * F.interpolate(attention, scale_factor=2)
