"""Networks of the hyperprior: hyper-analysis h_a, hyper-synthesis h_s and entropy parameters.

After Ballé et al. 2018 (arXiv 1802.01436) and Minnen, Ballé and Toderici 2018 (arXiv 1809.02736). h_s and the entropy
parameters decide symbols, so they consist of layers that have a fixed-point form (components.coding.fixed_point).
"""

import torch
from torch import nn

from .fixed_point import leaky_relu
from .residual import conv3x3, subpixel_conv


def hyper_analysis(latents: int, channels: int) -> nn.Sequential:
    """h_a: latents y (B, latents, h, w), h and w multiples of 4, to hyper-latents z (B, channels, h / 4, w / 4)."""
    return nn.Sequential(
        conv3x3(latents, channels),
        leaky_relu(),
        conv3x3(channels, channels, 2),
        leaky_relu(),
        conv3x3(channels, channels, 2),
    )


def hyper_synthesis(channels: int, features: int) -> nn.Sequential:
    """h_s: hyper-latents z_hat (B, channels, h / 4, w / 4) to features psi (B, features, h, w)."""
    return nn.Sequential(
        conv3x3(channels, channels),
        leaky_relu(),
        *subpixel_conv(channels, channels),
        leaky_relu(),
        *subpixel_conv(channels, channels),
        leaky_relu(),
        conv3x3(channels, features),
    )


_SMALL_INIT = 0.1  # of the usual initial weights: at first, distributions are those of the running statistics


def entropy_parameters(inputs: int, outputs: int) -> nn.Sequential:
    """Entropy parameters: features (B, inputs, h, w) to those of distributions (B, outputs, h, w), by 1x1 convolutions.

    The outputs are offsets from the running statistics of the channels, and small at first.
    """
    first, second = ((outputs + k * inputs) // (k + 1) for k in (2, 1))
    layers = nn.Sequential(
        nn.Conv2d(inputs, first, 1),
        leaky_relu(),
        nn.Conv2d(first, second, 1),
        leaky_relu(),
        nn.Conv2d(second, outputs, 1),
    )
    with torch.no_grad():
        for parameter in layers[-1].parameters():
            parameter.mul_(_SMALL_INIT)
    return layers
