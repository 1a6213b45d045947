"""A multilayer perceptron over causal neighbours: in floating point for training, in integers for coding (paper 002).

Shapes: B pictures of (H, W), K neighbours, n pixels side by side. A picture is three planes, of which the network knows
differences from a reference, the mean of the pixels to the left and above, rounded down.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

PLANES = 3
LAG = 2
"""Pixels by which a row follows the one above it where both are coded at once."""
NEIGHBOURS = tuple(
    (up, left)
    for up, (first, last) in enumerate(((1, 3), (-1, 3), (-2, 2), (-1, 1)))
    for left in range(first, last + 1)
)
"""(rows up, pixels left) of the pixels that a prediction sees."""
REACH_UP = max(up for up, _ in NEIGHBOURS)
REACH_LEFT = max(left for _, left in NEIGHBOURS)
REACH_RIGHT = max(-left for _, left in NEIGHBOURS)

assert all(LAG * up + left > 0 for up, left in NEIGHBOURS)  # what a front of pixels needs, earlier fronts hold

_LEFT, _ABOVE = NEIGHBOURS.index((0, 1)), NEIGHBOURS.index((1, 0))
_UNIT = 16.0  # grey levels for 1 in the network
MEAN_BITS = 6
"""Fractional bits of an exact mean, in grey levels."""

_OUTPUTS = 3  # mean, scale, weight
_INPUT_BITS, _LARGEST_INPUT = 4, 510
_HIDDEN_BITS, _LARGEST_HIDDEN = 7, (1 << 11) - 1
_LARGEST_SUM = (1 << 24) - 1  # of integers that float32 holds without rounding
_FINEST = 14  # fractional bits of a weight, at the most


class Prediction(NamedTuple):
    """Of one plane: the `mean` above the reference in grey levels, and the numbers of a scale and a weight."""

    mean: Tensor
    scale: Tensor
    weight: Tensor


class CausalMlp(nn.Module):
    """
        differences of K neighbours (3 K) --linear, ReLU--> width --linear, ReLU--> width
        for each plane: width, the planes before it here --linear, ReLU--> head --linear--> mean, scale, weight
        mean += a linear prediction from the differences and from the planes before it

    It starts as the linear predictor of gradient-adjusted prediction (Wu and Memon 1997), of one scale everywhere.
    """

    def __init__(self, width: int, head: int, scale: float):
        super().__init__()
        inputs = PLANES * len(NEIGHBOURS)
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, width)
        self.linear = nn.Linear(inputs, PLANES)
        self.heads = nn.ModuleList(nn.Linear(width + plane, head) for plane in range(PLANES))
        self.outputs = nn.ModuleList(nn.Linear(head, _OUTPUTS) for _ in range(PLANES))
        self.across = nn.Parameter(torch.zeros(PLANES, PLANES))  # [plane, one before it]
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()
            for plane in range(PLANES):
                self.linear.weight[plane, PLANES * NEIGHBOURS.index((1, -1)) + plane] = 0.25
                self.linear.weight[plane, PLANES * NEIGHBOURS.index((1, 1)) + plane] = -0.25
            for output in self.outputs:
                assert isinstance(output, nn.Linear)
                output.weight.mul_(0.1)
                output.bias.copy_(torch.tensor([0.0, scale, 1.0]))

    def forward(self, planes: Tensor) -> tuple[Tensor, list[Prediction]]:
        """Planes (B, 3, H, W) to their differences from the reference, and a prediction of each (B, H, W)."""
        height, width = planes.shape[-2:]
        padded = F.pad(planes, (REACH_LEFT, REACH_RIGHT, REACH_UP, 0), mode="replicate")
        seen = torch.stack(
            [padded[..., REACH_UP - up :, REACH_LEFT - left :][..., :height, :width] for up, left in NEIGHBOURS], dim=1
        )
        reference = ((seen[:, _LEFT] + seen[:, _ABOVE]) / 2).floor()
        x = (seen - reference[:, None]).flatten(1, 2).permute(0, 2, 3, 1)
        here = (planes - reference).permute(0, 2, 3, 1)
        hidden = F.relu(self.second(F.relu(self.first(x / _UNIT))))
        linear = self.linear(x)
        predictions = []
        for plane, (head, output) in enumerate(zip(self.heads, self.outputs, strict=True)):
            known = here[..., :plane]
            out = output(F.relu(head(torch.cat((hidden, known / _UNIT), dim=-1))))
            mean = linear[..., plane] + known @ self.across[plane, :plane] + _UNIT * out[..., 0]
            predictions.append(Prediction(mean, out[..., 1], out[..., 2]))
        return planes - reference, predictions

    @property
    def macs(self) -> int:
        """Multiply-accumulates for a pixel."""
        return sum(layer.weight.numel() for layer in self.modules() if isinstance(layer, nn.Linear)) + PLANES


class ExactMlp:
    """A CausalMlp in integer arithmetic, the same on every machine; float32 holds the integers.

    Products and partial sums stay below 2^24, which float32 holds without rounding in any order: each layer's weights
    have as many fractional bits as that allows. OverflowError says that some are too large for any.
    """

    def __init__(self, mlp: CausalMlp):
        self._first = _Layer(mlp.first, _INPUT_BITS, _LARGEST_INPUT)
        self._second = _Layer(mlp.second, _HIDDEN_BITS, _LARGEST_HIDDEN)
        with torch.no_grad():
            linear = nn.Linear(mlp.linear.in_features + PLANES, PLANES)
            linear.weight.copy_(torch.cat((mlp.linear.weight, mlp.across.tril(-1)), dim=1))
            linear.bias.copy_(mlp.linear.bias)
        self._linear = _Layer(linear, 0, _LARGEST_INPUT)
        self._heads = [_Layer(head, _HIDDEN_BITS, _LARGEST_HIDDEN) for head in mlp.heads]
        self._outputs = [_Layer(output, _HIDDEN_BITS, _LARGEST_HIDDEN) for output in mlp.outputs]
        self._width = mlp.second.out_features

    def start(self, seen: Floats) -> None:
        """Take the neighbours (K, 3, n) of pixels, integers; they are made differences in place."""
        self.reference: Floats = np.floor((seen[_LEFT] + seen[_ABOVE]) * np.float32(0.5))
        seen -= self.reference
        x = seen.reshape(-1, seen.shape[-1])
        self._means = self._linear.sums(x)
        self._known = np.empty((self._width + PLANES, x.shape[1]), dtype=np.float32)
        self._known[: self._width] = self._second.hidden(self._first.hidden(x))

    def predict(self, plane: int) -> tuple[Ints, Ints, Ints]:
        """The mean above the reference in 2^-MEAN_BITS grey levels, and the numbers of scale and weight."""
        output = self._outputs[plane]
        sums = output.sums(self._heads[plane].hidden(self._known[: self._width + plane]))
        mean = self._linear.rounded(self._means[plane], MEAN_BITS) + output.rounded(sums[0], MEAN_BITS, _UNIT)
        scale, weight = output.rounded(sums[1:], 0)
        return mean, scale, weight

    def tell(self, plane: int, here: Floats) -> None:
        """What the plane is here, above the reference: known to those after it."""
        self._means += self._linear.column(plane - PLANES) * here
        scaled = here * np.float32(2 ** (_HIDDEN_BITS - _INPUT_BITS))
        np.minimum(scaled, _LARGEST_HIDDEN, out=scaled)
        np.maximum(scaled, -_LARGEST_HIDDEN, out=self._known[self._width + plane])


class _Layer:
    """A linear layer of integers: inputs with `input_bits` fractional bits, none above `largest`."""

    def __init__(self, layer: nn.Module, input_bits: int, largest: int):
        assert isinstance(layer, nn.Linear)
        weight, bias = (part.detach().cpu().double() for part in (layer.weight, layer.bias))
        for bits in range(_FINEST, -1, -1):
            integers = (weight * 2**bits).round()
            offsets = (bias * 2 ** (bits + input_bits)).round()
            if (integers.abs().sum(dim=1) * largest + offsets.abs()).max() <= _LARGEST_SUM:
                break
        else:
            raise OverflowError("the weights of a predictor are too large for integer arithmetic in float32")
        self._weight, self._offsets = integers.float().numpy(), offsets.float().numpy()[:, None]
        self._bits = bits + input_bits

    def sums(self, x: Floats) -> Floats:
        """(inputs, n) to (outputs, n), where inputs that are left out at the end count as zero."""
        sums: Floats = self._weight[:, : len(x)] @ x
        sums += self._offsets
        return sums

    def column(self, number: int) -> Floats:
        """What one input adds to the sums (outputs, 1), for each unit of it."""
        column: Floats = self._weight[:, number, None]
        return column

    def hidden(self, x: Floats) -> Floats:
        """The activations after a ReLU, with _HIDDEN_BITS fractional bits."""
        sums = self.sums(x)
        sums *= np.float32(2.0 ** (_HIDDEN_BITS - self._bits))
        np.rint(sums, out=sums)
        np.maximum(sums, 0, out=sums)
        return np.minimum(sums, _LARGEST_HIDDEN, out=sums)

    def rounded(self, sums: Floats, bits: int, unit: float = 1.0) -> Ints:
        """Sums as integers, in 2^-bits of what is `unit` in the layer's own."""
        integers: Ints = np.rint(sums * np.float32(unit * 2.0 ** (bits - self._bits))).astype(np.int32)
        return integers
