"""Stages of a convolutional autoencoder with pooling (paper 002; Sidpara and Makadia, "Image Compression using Deep
Learning"), initialised as a Haar packet and its inverse."""

from torch import Tensor, nn

from .haar_initialisation import initialise_downsampling
from .residual import Residual, conv3x3, upsampling_conv

_SLOPE = 0.2


def pooling_down(inputs: int, outputs: int, stage: Tensor) -> Residual:
    """Residual stage that halves the size: 3x3 convolution, leaky ReLU, 2x2 average pooling, 3x3 convolution.

    The skip is a wavelet pooling (Williams and Li, ICLR 2018): all four Haar bands of 2x2 blocks instead of their
    averages alone, mixed by a 1x1 convolution that starts as `stage` (outputs, 4 * inputs) of a Haar packet.
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
    """Mirror of `pooling_down`, doubles the size: 3x3 convolution, leaky ReLU, nearest upsampling, 3x3 convolution.

    The skip is a sub-pixel convolution that starts as the inverse of `stage` (inputs, 4 * outputs).
    """
    body = (
        conv3x3(inputs, inputs),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.Upsample(scale_factor=2),
        conv3x3(inputs, outputs),
    )
    return Residual(nn.Sequential(*body), upsampling_conv(inputs, outputs, stage, kernel=1))


def residual(channels: int) -> Residual:
    """Residual block of two 3x3 convolutions with leaky ReLU between them."""
    body = (conv3x3(channels, channels), nn.LeakyReLU(_SLOPE, inplace=True), conv3x3(channels, channels))
    return Residual(nn.Sequential(*body))
