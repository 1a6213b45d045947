"""Convolutional networks in fixed-point arithmetic, with the same results on every machine.

An entropy decoder must see bit for bit the probabilities that the encoder saw. A floating-point network cannot promise
that: another order of summation (another thread count, batch size, library or device) rounds differently, one table
index changes, and everything after it decodes to noise. Networks that decide symbols therefore run in integers.

Format. A real number v is stored as the integer round(v * 2^bits):

    activations   ACTIVATION_BITS = 8 fractional bits; 1.0 is UNIT = 256; clamped to +-2^18, which is +-1024
    weights       WEIGHT_BITS = 16 fractional bits
    biases        8 + 16 = 24 fractional bits, those of a product of weight and activation

    x (8 bits) --conv with weights (16 bits) + bias (24 bits)--> sum (24 bits) --rounding_shift 16, clamp--> y (8 bits)

Why sums are exact in any order. The integers are held in float64, whose 53-bit significand represents every integer up
to 2^53 without rounding. For each output channel, `fixed_point_forward` checks

    sum |weights| * 2^18 + |bias| <= 2^52

so every product and every partial sum of a convolution, in any order, stays below 2^53. No addition rounds, hence
all orders give the same sum. float64 is used, and not int64, because it has fast convolutions on CPUs and GPUs.

Other steps are exact too. Rounding a stored float32 to fixed point multiplies by a power of two and rounds once.
Shifts multiply by a power of two and take the floor. The slope of leaky ReLU is 1/8, pixel shuffles copy, and a Gate
multiplies two integers below 2^19.

Callers: the hyper-synthesis (components.entropy.hyper_latents), the entropy parameters and the context model
(components.entropy.hyperprior), the refinements of trit planes (components.entropy.progressive), running statistics
and gains. `components.entropy.pixels.causal_mlp.FixedPointMlp` applies the same argument to float32 and 2^24.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHT_BITS = 16
"""Fractional bits of weights."""
ACTIVATION_BITS = 8
"""Fractional bits of activations."""
UNIT = 1 << ACTIVATION_BITS
"""An activation of 1.0 in fixed point."""

_LARGEST_ACTIVATION = 1 << 18  # 1024 in real terms
_LARGEST_SUM = 1 << 52


def fixed_point_forward(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Run a network in fixed-point arithmetic (see the module's description).

    Args:
        layers: Conv2d with bias, LeakyReLU with a slope that is a power of two, PixelShuffle and Gate, in order.
        x: (B, C, H, W) activations: integers with ACTIVATION_BITS fractional bits, in float64.

    Returns:
        Activations of the last layer, in the same format.

    Raises:
        OverflowError: weights are so large that a sum could exceed what float64 holds exactly.
        TypeError: a layer has no fixed-point form.
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
            raise TypeError(f"no fixed-point form of {type(layer).__name__}")
    return x


def to_fixed_point(x: Tensor, bits: int = ACTIVATION_BITS) -> Tensor:
    """Real numbers, in any shape, to integers with `bits` fractional bits, in float64 and without a gradient."""
    return (x.detach().double() * (1 << bits)).round_()


def rounding_shift(x: Tensor, bits: int) -> Tensor:
    """Integers in float64 divided by 2^bits and rounded to the nearest integer, halves up."""
    return (x + (1 << bits - 1)).mul_(2.0**-bits).floor_()


def fixed_point_parameters(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weights and biases of a convolution in fixed point. Raises OverflowError as `fixed_point_forward` does."""
    weight = to_fixed_point(layer.weight, WEIGHT_BITS)
    assert layer.bias is not None
    bias = to_fixed_point(layer.bias, WEIGHT_BITS + ACTIVATION_BITS)
    if weight.abs().sum(dim=(1, 2, 3)).max() * _LARGEST_ACTIVATION + bias.abs().max() > _LARGEST_SUM:
        raise OverflowError("the weights of a fixed-point network are too large for exact sums in float64")
    return weight, bias


def fixed_point_sum(y: Tensor) -> Tensor:
    """The sums of a convolution, with 24 fractional bits, to activations."""
    return rounding_shift(y, WEIGHT_BITS).clamp_(-_LARGEST_ACTIVATION, _LARGEST_ACTIVATION)


def _convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    weight, bias = fixed_point_parameters(layer)
    assert isinstance(layer.padding, tuple)
    return fixed_point_sum(F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups))


class Gate(nn.Module):
    """Gating with a fixed-point form: half of the channels, each times clamp(m + 1/2, 0, 1) of the other half's m."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2C, H, W), values then masks, to (B, C, H, W)."""
        value, mask = x.chunk(2, dim=1)
        return value * (mask + 0.5).clamp(0, 1)


def leaky_relu() -> nn.LeakyReLU:
    """Leaky ReLU with slope 1/8, a power of two, so that its fixed-point form is exact."""
    return nn.LeakyReLU(0.125)
