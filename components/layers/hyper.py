"""Hyper-analysis and hyper-synthesis: latents at 1/16 to side information at 1/64 and back."""

from torch import nn

from components.layers.exact import leaky
from components.layers.residual import conv3x3, subpixel


def hyper_analysis(latents: int, channels: int) -> nn.Sequential:
    """(B, latents, h, w) to (B, channels, h / 4, w / 4)."""
    return nn.Sequential(
        conv3x3(latents, channels),
        leaky(),
        conv3x3(channels, channels, 2),
        leaky(),
        conv3x3(channels, channels, 2),
    )


def hyper_synthesis(channels: int, features: int) -> nn.Sequential:
    """(B, channels, h / 4, w / 4) to (B, features, h, w), of layers that have an integer form."""
    return nn.Sequential(
        conv3x3(channels, channels),
        leaky(),
        *subpixel(channels, channels),
        leaky(),
        *subpixel(channels, channels),
        leaky(),
        conv3x3(channels, features),
    )
