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
to 2^53 without rounding. For each output channel of a convolution

    sum |weights| * 2^18 + |bias| <= 2^52

is checked, so every product and every partial sum, in any order, stays below 2^53. No addition rounds, hence all orders
give the same sum. float64 is used, and not int64, because it has fast matrix products.

Other steps are exact too. Shifts multiply by a power of two and take the floor. The slope of leaky ReLU is a power of
two, pixel shuffles copy, and a gate multiplies two integers below 2^19.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

WEIGHT_BITS = 16
"""Fractional bits of weights."""
ACTIVATION_BITS = 8
"""Fractional bits of activations."""
UNIT = 1 << ACTIVATION_BITS
"""An activation of 1.0 in fixed point."""
LARGEST_ACTIVATION = 1 << 18  # 1024 in real terms
LARGEST_SUM = 1 << 52

Values = NDArray[np.float64]
"""Integers in float64."""
Arrays = Mapping[str, NDArray[np.int32] | NDArray[np.int64]]
"""The stored integers of a coder, by name."""
Layer = Callable[[Values], Values]
"""Activations (C, h, w) to those of the next layer."""

LEAKY, SHUFFLE, GATE = "leaky", "shuffle", "gate"
"""Layers without weights, as a Network names them."""


class Convolution:
    """A convolution of odd kernel that keeps the size.

    Attributes:
        taps: (k, k, F, C) weights, or (k, k, C, 1) of a convolution of each channel by itself.
        bias: (F, 1, 1).
    """

    def __init__(self, arrays: Arrays, name: str):
        """Raises OverflowError for weights so large that a sum could exceed what float64 holds exactly."""
        weight = arrays[f"{name}.weight"].astype(np.float64)
        bias = arrays[f"{name}.bias"].astype(np.float64)
        check_sums(float(np.abs(weight).sum(axis=(1, 2, 3)).max()), float(np.abs(bias).max()))
        self.taps: Values = np.ascontiguousarray(weight.transpose(2, 3, 0, 1))
        self.bias: Values = bias[:, None, None]
        self._rounding: Values = self.bias + (1 << WEIGHT_BITS - 1)

    def __call__(self, x: Values) -> Values:
        """(C, h, w) to (F, h, w)."""
        side, (height, width) = len(self.taps), x.shape[1:]
        if side == 1:
            sums = multiplied(self.taps[0, 0], x)
        else:
            padded = padded_with_zeros(x, side // 2)
            sums = sum(
                multiplied(self.taps[i, j], padded[:, i : i + height, j : j + width])
                for i in range(side)
                for j in range(side)
            )  # type: ignore[assignment]
        return self.activations(sums)

    def activations(self, sums: Values) -> Values:
        """Sums of products (F, h, w), which are overwritten, to activations."""
        sums += self._rounding  # in place from here on: memory that is new costs more than arithmetic
        sums *= 2.0**-WEIGHT_BITS
        np.floor(sums, out=sums)
        return np.clip(sums, -LARGEST_ACTIVATION, LARGEST_ACTIVATION, out=sums)


class Network:
    """Layers in order: LEAKY, SHUFFLE, GATE, or convolutions by their names in `arrays`."""

    def __init__(self, layers: Sequence[str], arrays: Arrays):
        self._layers = [_WITHOUT_WEIGHTS.get(name) or Convolution(arrays, name) for name in layers]

    def __call__(self, x: Values) -> Values:
        """Activations (C, h, w) to those of the last layer."""
        x = np.clip(x, -LARGEST_ACTIVATION, LARGEST_ACTIVATION)
        for layer in self._layers:
            x = layer(x)
        return x


def rounding_shift(x: Values, bits: int) -> Values:
    """Integers in float64 divided by 2^bits and rounded to the nearest integer, halves up."""
    out: Values = x + float(1 << bits - 1)
    out *= 2.0**-bits
    return np.floor(out, out=out)


def check_sums(weights: float, bias: float) -> None:
    """Raise OverflowError if a sum could exceed what float64 holds exactly.

    Args:
        weights: the largest sum of absolute weights of an output channel.
        bias: the largest absolute bias.
    """
    if weights * LARGEST_ACTIVATION + bias > LARGEST_SUM:
        raise OverflowError("the weights of a fixed-point network are too large for exact sums in float64")


class Products:
    """How many products the networks of this process have computed; the cost of a codec is a difference of it."""

    done: ClassVar[int] = 0


def multiplied(matrix: Values, x: Values) -> Values:
    """A matrix (F, C) times the channels of x (C, h, w); or each channel times its own factor, if it is (C, 1)."""
    Products.done += matrix.size * x[0].size
    if matrix.shape[1] == 1 < len(x):
        return matrix[:, :, None] * x
    return (matrix @ x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])


def padded_with_zeros(x: Values, width: int) -> Values:
    """(C, h, w) with a border of zeros."""
    return np.pad(x, ((0, 0), (width, width), (width, width)))


def _leaky_relu(x: Values) -> Values:
    """With slope 1/8."""
    less = x * 0.125
    return np.maximum(x, np.floor(less, out=less), out=less)


def _pixel_shuffle(x: Values) -> Values:
    """(4C, h, w) to (C, 2h, 2w)."""
    channels, height, width = len(x) // 4, *x.shape[1:]
    blocks = x.reshape(channels, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks).reshape(channels, 2 * height, 2 * width)


def _gate(x: Values) -> Values:
    """(2C, h, w), values then masks, to (C, h, w): each value times clamp(mask + 1/2, 0, 1)."""
    value, mask = np.split(x, 2)
    return rounding_shift(value * np.clip(mask + UNIT // 2, 0, UNIT), ACTIVATION_BITS)


_WITHOUT_WEIGHTS: dict[str, Layer] = {LEAKY: _leaky_relu, SHUFFLE: _pixel_shuffle, GATE: _gate}
