"""Hyper-analysis and hyper-synthesis: latents at 1/16 to side information at 1/64 and back."""

import torch
from torch import nn

from components.layers.fixed_point import leaky_relu
from components.layers.residual import conv3x3, subpixel_conv


def hyper_analysis(latents: int, channels: int) -> nn.Sequential:
    """(B, latents, h, w) to (B, channels, h / 4, w / 4)."""
    return nn.Sequential(
        conv3x3(latents, channels),
        leaky_relu(),
        conv3x3(channels, channels, 2),
        leaky_relu(),
        conv3x3(channels, channels, 2),
    )


def hyper_synthesis(channels: int, features: int) -> nn.Sequential:
    """(B, channels, h / 4, w / 4) to (B, features, h, w), of layers that have an integer form."""
    return nn.Sequential(
        conv3x3(channels, channels),
        leaky_relu(),
        *subpixel_conv(channels, channels),
        leaky_relu(),
        *subpixel_conv(channels, channels),
        leaky_relu(),
        conv3x3(channels, features),
    )


_SMALL_INIT = 0.1  # of the usual initial weights: at first, latents are coded as typical ones


def entropy_parameters(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, h, w) to what distributions differ by from the typical (B, outputs, h, w), element by element."""
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
