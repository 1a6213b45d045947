"""The blocks of Cheng et al. 2020 (arXiv 2001.01568): residual blocks, sub-pixel upsampling, simplified attention."""

import torch
from torch import Tensor, nn

from components.layers.gdn import Gdn
from components.layers.haar_initialisation import (
    identity_kernel,
    initialise,
    initialise_downsampling,
    initialise_upsampling,
)

_SMALL_INIT = 0.01


class Residual(nn.Module):
    """skip(x) + body(x); the body's last convolution starts with small weights, so that the skip leads at first."""

    def __init__(self, body: nn.Sequential, skip: nn.Module | None = None):
        super().__init__()
        last = [layer for layer in body.modules() if isinstance(layer, nn.Conv2d)][-1]
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(_SMALL_INIT)
        self.body = body
        self.skip = skip if skip is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to what body and skip make of it."""
        out: Tensor = self.skip(x) + self.body(x)
        return out


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or halves it."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def subpixel_conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Twice the size: a convolution to four times the channels, shuffled into pixels; it starts by repeating each."""
    conv = nn.Conv2d(inputs, 4 * outputs, kernel, padding=kernel // 2)
    initialise(conv, torch.eye(outputs, inputs).repeat_interleave(4, dim=0), identity_kernel(kernel))
    return nn.Sequential(conv, nn.PixelShuffle(2))


def downsampling_conv(inputs: int, outputs: int, stage: Tensor) -> nn.Conv2d:
    """Half the size: a 3x3 convolution that starts as a stage of a Haar packet."""
    conv = conv3x3(inputs, outputs, 2)
    initialise_downsampling(conv, stage)
    return conv


def upsampling_conv(inputs: int, outputs: int, stage: Tensor, kernel: int = 3) -> nn.Sequential:
    """Twice the size: a sub-pixel convolution that starts as the inverse of a stage."""
    layers = subpixel_conv(inputs, outputs, kernel)
    initialise_upsampling(layers[0], stage)  # type: ignore[arg-type]
    return layers


def residual_block(channels: int) -> Residual:
    """Two 3x3 convolutions."""
    body = (conv3x3(channels, channels), nn.LeakyReLU(inplace=True), conv3x3(channels, channels), nn.LeakyReLU())
    return Residual(nn.Sequential(*body))


def residual_down(inputs: int, outputs: int, stage: Tensor) -> Residual:
    """Half the size, with GDN. The skip sees whole 2x2 blocks and starts as a stage of a Haar packet."""
    body = (conv3x3(inputs, outputs, 2), nn.LeakyReLU(inplace=True), conv3x3(outputs, outputs), Gdn(outputs))
    mix = nn.Conv2d(4 * inputs, outputs, 1)
    initialise_downsampling(mix, stage)
    return Residual(nn.Sequential(*body), nn.Sequential(nn.PixelUnshuffle(2), mix))


def residual_up(inputs: int, outputs: int, stage: Tensor) -> Residual:
    """Twice the size, with inverse GDN. The skip, a 1x1 sub-pixel convolution, starts as the inverse of a stage."""
    body = (
        subpixel_conv(inputs, outputs),
        nn.LeakyReLU(inplace=True),
        conv3x3(outputs, outputs),
        Gdn(outputs, inverse=True),
    )
    return Residual(nn.Sequential(*body), upsampling_conv(inputs, outputs, stage, kernel=1))


class SimplifiedAttention(nn.Module):
    """x + trunk(x) * sigmoid(mask(x)): attention without the non-local block (paper 001, figure 2b).

    It starts nearly as the identity, its mask nearly closed.
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
    body = nn.Sequential(
        nn.Conv2d(channels, channels // 2, 1),
        nn.ReLU(inplace=True),
        conv3x3(channels // 2, channels // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels // 2, channels, 1),
    )
    return nn.Sequential(Residual(body), nn.ReLU(inplace=True))
