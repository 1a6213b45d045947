"""Patch discriminator for adversarial training: DCGAN (Radford, Metz and Chintala, ICLR 2016), fully convolutional."""

import torch
from torch import Tensor, nn

from .residual import conv3x3

_SLOPE, _STEPS = 0.2, 4


class PatchDiscriminator(nn.Module):
    """Four strided 4x4 convolutions with leaky ReLU, widths doubling from `channels`, and a score of each patch.

    DCGAN scores whole pictures of 64x64; here a 3x3 convolution scores each position at 1/16, whose receptive field is
    78 pixels a side. Arithmetic is float32 whatever the autocast precision, because gradient penalties differentiate
    gradients.

    Args:
        channels: outputs of the first convolution.
        normalised: batch normalisation after all but the first and last convolutions, as in DCGAN.
    """

    def __init__(self, channels: int, *, normalised: bool):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for step in range(_STEPS):
            outputs = channels * 2**step
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, padding=1))
            if normalised and step > 0:
                layers.append(nn.BatchNorm2d(outputs, track_running_stats=False))
            layers.append(nn.LeakyReLU(_SLOPE))
            inputs = outputs
        self.layers = nn.Sequential(*layers, conv3x3(inputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in about [0, 1] to scores (B, H/16, W/16), rounded down; 16x16 at least."""
        with torch.autocast(x.device.type, enabled=False):
            scores: Tensor = self.layers(2 * x.float() - 1)
            return scores[:, 0]
