"""Residual blocks, sub-pixel upsampling and simplified attention of Cheng et al. (CVPR 2020, arXiv 2001.01568)."""

import torch
from torch import Tensor, nn

from .gdn import Gdn
from .haar_initialisation import (
    identity_kernel,
    initialise,
    initialise_downsampling,
    initialise_upsampling,
)

_SMALL_INIT = 0.01


class Residual(nn.Module):
    """Residual block skip(x) + body(x), whose body starts small.

    Args:
        body: layers whose last convolution has its initial weights scaled down.
        skip: by default the identity.
    """

    def __init__(self, body: nn.Sequential, skip: nn.Module | None = None):
        super().__init__()
        last = [layer for layer in body.modules() if isinstance(layer, nn.Conv2d)][-1]
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(_SMALL_INIT)
        self.body = body
        self.skip = skip if skip is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the sum of skip and body."""
        out: Tensor = self.skip(x) + self.body(x)
        return out


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the size (stride 1) or halves it (stride 2)."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def subpixel_conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Sub-pixel convolution, doubles the size (Shi et al. 2016); initialised to repeat each pixel in a 2x2 block."""
    conv = nn.Conv2d(inputs, 4 * outputs, kernel, padding=kernel // 2)
    initialise(conv, torch.eye(outputs, inputs).repeat_interleave(4, dim=0), identity_kernel(kernel))
    return nn.Sequential(conv, nn.PixelShuffle(2))


def downsampling_conv(inputs: int, outputs: int, stage: Tensor) -> nn.Conv2d:
    """Strided 3x3 convolution, initialised as `stage` (outputs, 4 * inputs) of a Haar packet."""
    conv = conv3x3(inputs, outputs, 2)
    initialise_downsampling(conv, stage)
    return conv


def upsampling_conv(inputs: int, outputs: int, stage: Tensor, kernel: int = 3) -> nn.Sequential:
    """Sub-pixel convolution, initialised as the inverse of `stage` (inputs, 4 * outputs) of a Haar packet."""
    layers = subpixel_conv(inputs, outputs, kernel)
    initialise_upsampling(layers[0], stage)  # type: ignore[arg-type]
    return layers


def residual_block(channels: int) -> Residual:
    """Residual block of two 3x3 convolutions with leaky ReLU."""
    body = (conv3x3(channels, channels), nn.LeakyReLU(inplace=True), conv3x3(channels, channels), nn.LeakyReLU())
    return Residual(nn.Sequential(*body))


def residual_down(inputs: int, outputs: int, stage: Tensor) -> Residual:
    """Residual block with stride 2 and GDN; its skip is a 1x1 convolution of 2x2 blocks.

    The skip is initialised as `stage` (outputs, 4 * inputs) of a Haar packet.
    """
    body = (conv3x3(inputs, outputs, 2), nn.LeakyReLU(inplace=True), conv3x3(outputs, outputs), Gdn(outputs))
    mix = nn.Conv2d(4 * inputs, outputs, 1)
    initialise_downsampling(mix, stage)
    return Residual(nn.Sequential(*body), nn.Sequential(nn.PixelUnshuffle(2), mix))


def residual_up(inputs: int, outputs: int, stage: Tensor) -> Residual:
    """Residual block with sub-pixel upsampling and inverse GDN; its skip is a 1x1 sub-pixel convolution.

    The skip is initialised as the inverse of `stage` (inputs, 4 * outputs) of a Haar packet.
    """
    body = (
        subpixel_conv(inputs, outputs),
        nn.LeakyReLU(inplace=True),
        conv3x3(outputs, outputs),
        Gdn(outputs, inverse=True),
    )
    return Residual(nn.Sequential(*body), upsampling_conv(inputs, outputs, stage, kernel=1))


class SimplifiedAttention(nn.Module):
    """Attention without the non-local block: x + trunk(x) * sigmoid(mask(x)).

    From Cheng et al. 2020; the trit-plane codec (paper 001; Fang et al. 2024) has it in figure 2b. It starts nearly as
    the identity, because the bias of the mask is negative.
    """

    def __init__(self, channels: int):
        super().__init__()
        gate = nn.Conv2d(channels, channels, 1)
        nn.init.constant_(gate.bias, -4.0)  # type: ignore[arg-type]
        self.trunk = nn.Sequential(*(_bottleneck(channels) for _ in range(3)))
        self.mask = nn.Sequential(*(_bottleneck(channels) for _ in range(3)), gate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        out: Tensor = x + self.trunk(x) * torch.sigmoid(self.mask(x))
        return out


def _bottleneck(channels: int) -> nn.Sequential:
    """Residual unit of 1x1, 3x3 and 1x1 convolutions at half the channels inside, then ReLU."""
    body = nn.Sequential(
        nn.Conv2d(channels, channels // 2, 1),
        nn.ReLU(inplace=True),
        conv3x3(channels // 2, channels // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels // 2, channels, 1),
    )
    return nn.Sequential(Residual(body), nn.ReLU(inplace=True))
