"""Stages of a convolutional autoencoder with pooling (paper 002), which start as a Haar packet and its inverse."""

from torch import Tensor, nn

from components.layers.haar_initialisation import initialise_downsampling
from components.layers.residual import Residual, conv3x3, upsampling_conv

_SLOPE = 0.2


def pooling_down(inputs: int, outputs: int, stage: Tensor) -> Residual:
    """Half the size: a 3x3 convolution, leaky ReLU, 2x2 average pooling, a 3x3 convolution.

    The skip is a Haar pooling (Williams and Li, ICLR 2018): averages of 2x2 blocks with all signs instead of one,
    mixed by a 1x1 convolution.
    """
    mix = nn.Conv2d(4 * inputs, outputs, 1)
    initialise_downsampling(mix, stage)
    body = (
        conv3x3(inputs, outputs),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.AvgPool2d(2),
        conv3x3(outputs, outputs),
    )
    return Residual(nn.Sequential(*body), nn.Sequential(nn.PixelUnshuffle(2), mix))


def upsampling(inputs: int, outputs: int, stage: Tensor) -> Residual:
    """Twice the size, the mirror: a 3x3 convolution, leaky ReLU, each pixel repeated, a 3x3 convolution."""
    body = (
        conv3x3(inputs, inputs),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.Upsample(scale_factor=2),
        conv3x3(inputs, outputs),
    )
    return Residual(nn.Sequential(*body), upsampling_conv(inputs, outputs, stage, kernel=1))


def residual(channels: int) -> Residual:
    """The same size: two 3x3 convolutions, leaky ReLU between them."""
    body = (conv3x3(channels, channels), nn.LeakyReLU(_SLOPE, inplace=True), conv3x3(channels, channels))
    return Residual(nn.Sequential(*body))
