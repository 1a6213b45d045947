"""Wavelet spatial attention (paper 000; Nandi and Gandhi 2024, after Yang et al. 2023)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .wavelet import Wavelet

_REDUCTION = 2
_NEARLY_CLOSED = -3.0


class WaveletAttention(nn.Module):
    """Wavelet spatial attention with a residual connection: x + x * M, M an attention map from wavelet bands of x.

        W = cat(LL, LL + LH + HH),  M = sigmoid(FC(relu(FC(W))))

    The paper does not say over which axis the fully connected layers go. Here they mix the channels at each position
    (1x1 convolutions), so that pictures may have any size. M has half the resolution of x and a value for each channel.
    It starts close to zero, hence the module close to the identity.

    Args:
        channels: C.
        wavelet: a name of PyWavelets; the paper's is Haar.
    """

    def __init__(self, channels: int, wavelet: str = "haar"):
        super().__init__()
        self.wavelet = Wavelet(wavelet)
        hidden = channels // _REDUCTION
        gate = nn.Conv2d(hidden, channels, 1)
        nn.init.constant_(gate.bias, _NEARLY_CLOSED)  # type: ignore[arg-type]
        self.fc = nn.Sequential(nn.Conv2d(2 * channels, hidden, 1), nn.ReLU(inplace=True), gate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), H and W even, to the same shape."""
        low, details = self.wavelet.dwt(x)
        horizontal, _, diagonal = details.chunk(3, dim=1)
        attention = torch.sigmoid(self.fc(torch.cat((low, low + horizontal + diagonal), dim=1)))
        return x + x * F.interpolate(attention, scale_factor=2)
