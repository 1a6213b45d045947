"""Fixed-point arithmetic of trained networks: components.coding.fixed_point, which says why it is exact, in torch.

Callers: trit planes, with their hyper-synthesis and refinements (components.entropy.progressive), and gains.
`components.entropy.pixels.causal_mlp.FixedPointMlp` applies the same argument to float32 and 2^24.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..coding.fixed_point import ACTIVATION_BITS, LARGEST_ACTIVATION, UNIT, WEIGHT_BITS, check_sums


def fixed_point_forward(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Run a network in fixed-point arithmetic (see components.coding.fixed_point).

    Args:
        layers: Conv2d with bias, LeakyReLU with a slope that is a power of two, PixelShuffle and Gate, in order.
        x: (B, C, H, W) activations: integers with ACTIVATION_BITS fractional bits, in float64.

    Returns:
        Activations of the last layer, in the same format.

    Raises:
        OverflowError: weights are so large that a sum could exceed what float64 holds exactly.
        TypeError: a layer has no fixed-point form.
    """
    x = x.clamp(-LARGEST_ACTIVATION, LARGEST_ACTIVATION)
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
            raise TypeError(f"no fixed-point form of {type(layer).__name__}")
    return x


def to_fixed_point(x: Tensor, bits: int = ACTIVATION_BITS) -> Tensor:
    """Real numbers, in any shape, to integers with `bits` fractional bits, in float64 and without a gradient."""
    return (x.detach().double() * (1 << bits)).round_()


def rounding_shift(x: Tensor, bits: int) -> Tensor:
    """Integers in float64 divided by 2^bits and rounded to the nearest integer, halves up."""
    return (x + (1 << bits - 1)).mul_(2.0**-bits).floor_()


def _convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    weight = to_fixed_point(layer.weight, WEIGHT_BITS)
    assert layer.bias is not None
    bias = to_fixed_point(layer.bias, WEIGHT_BITS + ACTIVATION_BITS)
    check_sums(weight.abs().sum(dim=(1, 2, 3)).max().item(), bias.abs().max().item())
    assert isinstance(layer.padding, tuple)
    y = F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    return rounding_shift(y, WEIGHT_BITS).clamp_(-LARGEST_ACTIVATION, LARGEST_ACTIVATION)


class Gate(nn.Module):
    """Gating with a fixed-point form: half of the channels, each times clamp(m + 1/2, 0, 1) of the other half's m."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2C, H, W), values then masks, to (B, C, H, W)."""
        value, mask = x.chunk(2, dim=1)
        return value * (mask + 0.5).clamp(0, 1)


def leaky_relu() -> nn.LeakyReLU:
    """Leaky ReLU with slope 1/8, a power of two, so that its fixed-point form is exact."""
    return nn.LeakyReLU(0.125)
