"""Convolutional networks in integer arithmetic: the same numbers on every machine, in any order of summation."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHT_BITS = 16
ACTIVATION_BITS = 8
UNIT = 1 << ACTIVATION_BITS
"""An activation of 1.0 in fixed point."""

_LARGEST_ACTIVATION = 1 << 18  # 1024 in real terms
_LARGEST_SUM = 1 << 52


def fixed_point_forward(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Run convolutions, LeakyReLU, pixel shuffles and gates on fixed-point x (B, C, H, W), float64 integers.

    Input and output have ACTIVATION_BITS fractional bits, weights WEIGHT_BITS: rounding a stored float32 to them is
    exact. Every product and every partial sum of a convolution is an integer below 2^53, which float64 holds
    without rounding, so no order of summation, thread count or device changes it. The bound is checked for the
    weights at hand; OverflowError says that they are too large for it.
    """
    x = x.clamp(-_LARGEST_ACTIVATION, _LARGEST_ACTIVATION)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            x = _convolution(layer, x)
        elif isinstance(layer, nn.LeakyReLU):
            x = torch.maximum(x, (x * layer.negative_slope).floor_())
        elif isinstance(layer, nn.PixelShuffle):
            x = layer(x)
        elif isinstance(layer, Gate):
            value, mask = x.chunk(2, dim=1)
            x = rounding_shift(value * (mask + UNIT // 2).clamp_(0, UNIT), ACTIVATION_BITS)
        else:
            raise TypeError(f"no integer form of {type(layer).__name__}")
    return x


def to_fixed_point(x: Tensor, bits: int = ACTIVATION_BITS) -> Tensor:
    """Float x to integers with `bits` fractional bits, in float64."""
    return (x.detach().double() * (1 << bits)).round_()


def rounding_shift(x: Tensor, bits: int) -> Tensor:
    """Integers x over 2^bits, rounded to the nearest integer, halves up."""
    return ((x + (1 << bits - 1)) * 2.0**-bits).floor_()


def _convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    weight = to_fixed_point(layer.weight, WEIGHT_BITS)
    assert layer.bias is not None
    bias = to_fixed_point(layer.bias, WEIGHT_BITS + ACTIVATION_BITS)
    if weight.abs().sum(dim=(1, 2, 3)).max() * _LARGEST_ACTIVATION + bias.abs().max() > _LARGEST_SUM:
        raise OverflowError("the weights of an exact network are too large for integer arithmetic in float64")
    assert isinstance(layer.padding, tuple)
    y = F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    return rounding_shift(y, WEIGHT_BITS).clamp_(-_LARGEST_ACTIVATION, _LARGEST_ACTIVATION)


class Gate(nn.Module):
    """Attention in an exact network: half of the channels, each times a mask from 0 to 1 that the other half makes."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2C, H, W) to (B, C, H, W)."""
        value, mask = x.chunk(2, dim=1)
        return value * (mask + 0.5).clamp(0, 1)


def leaky_relu() -> nn.LeakyReLU:
    """The activation of exact networks: its slope is a power of two."""
    return nn.LeakyReLU(0.125)
