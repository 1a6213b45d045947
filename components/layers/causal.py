"""A multilayer perceptron over causal neighbours: in floating point for training, in integers for coding (paper 002).

Shapes: B pictures of (H, W), K neighbours, n pixels side by side. A picture is three planes, of which the network knows
differences from a reference, the mean of the pixels to the left and above, rounded down; and how far its own
predictions were off nearby.
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
NEAREST = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))
"""Of those, the ones whose errors tell what error to expect."""
REACH_UP = max(up for up, _ in NEIGHBOURS)
REACH_LEFT = max(left for _, left in NEIGHBOURS)
REACH_RIGHT = max(-left for _, left in NEIGHBOURS)

assert all(LAG * up + left > 0 for up, left in NEIGHBOURS)  # what a front of pixels needs, earlier fronts hold

_LEFT, _ABOVE = NEIGHBOURS.index((0, 1)), NEIGHBOURS.index((1, 0))
_UNIT = 16.0  # grey levels for 1 in the network
MEAN_BITS = 6
"""Fractional bits of an exact mean, in grey levels."""
_ERROR_BITS = 3  # of an exact error
_LARGEST_ERRORS = (1 << 12) - 1  # sum of neighbours' errors
_SPREAD = 2  # outputs: scale, weight

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
        for each plane: width, the planes before it here --linear, ReLU--> head --linear--> mean
        mean += a linear prediction from the differences and from the planes before it
        head, logarithms of errors, of the nearest neighbours' and of those here so far --linear--> scale, weight

    It starts as the linear predictor of gradient-adjusted prediction (Wu and Memon 1997), of one scale everywhere.
    """

    logarithms: Tensor

    def __init__(self, width: int, head: int, scale: float):
        super().__init__()
        inputs = PLANES * len(NEIGHBOURS)
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, width)
        self.linear = nn.Linear(inputs, PLANES)
        self.heads = nn.ModuleList(nn.Linear(width + plane, head) for plane in range(PLANES))
        self.means = nn.ModuleList(nn.Linear(head, 1) for _ in range(PLANES))
        self.spreads = nn.ModuleList(nn.Linear(head + PLANES + plane, _SPREAD) for plane in range(PLANES))
        self.across = nn.Parameter(torch.zeros(PLANES, PLANES))  # [plane, one before it]
        # Exact logarithms of sums of errors, from the checkpoint: no machine computes its own.
        sums = torch.arange(_LARGEST_ERRORS + 1, dtype=torch.float64) / 2**_ERROR_BITS
        self.register_buffer("logarithms", (2**_HIDDEN_BITS * torch.log2(1 + sums)).round().to(torch.int16))
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()
            for plane in range(PLANES):
                self.linear.weight[plane, PLANES * NEIGHBOURS.index((1, -1)) + plane] = 0.25
                self.linear.weight[plane, PLANES * NEIGHBOURS.index((1, 1)) + plane] = -0.25
            for mean, spread in zip(self.means, self.spreads, strict=True):
                assert isinstance(mean, nn.Linear)
                assert isinstance(spread, nn.Linear)
                mean.weight.mul_(0.1)
                mean.bias.zero_()
                spread.weight.mul_(0.1)
                spread.bias.copy_(torch.tensor([scale, 1.0]))

    def forward(self, planes: Tensor) -> tuple[Tensor, list[Prediction]]:
        """Planes (B, 3, H, W) to their differences from the reference, and a prediction of each (B, H, W)."""
        seen = _shifted(planes, NEIGHBOURS)
        reference = ((seen[:, _LEFT] + seen[:, _ABOVE]) / 2).floor()
        x = (seen - reference[:, None]).flatten(1, 2).permute(0, 2, 3, 1)
        here = (planes - reference).permute(0, 2, 3, 1)
        hidden = F.relu(self.second(F.relu(self.first(x / _UNIT))))
        linear = self.linear(x)
        heads, means = [], []
        for plane, (head, output) in enumerate(zip(self.heads, self.means, strict=True)):
            known = here[..., :plane]
            heads.append(F.relu(head(torch.cat((hidden, known / _UNIT), dim=-1))))
            across = known @ self.across[plane, :plane]
            means.append(linear[..., plane] + across + _UNIT * output(heads[-1])[..., 0])
        errors = (here - torch.stack(means, dim=-1)).abs().detach()
        around = _shifted(errors.permute(0, 3, 1, 2), NEAREST).sum(dim=1).permute(0, 2, 3, 1)
        told = torch.log2(1 + torch.cat((around, errors), dim=-1).clamp_max(_LARGEST_ERRORS / 2**_ERROR_BITS))
        predictions = []
        for plane, (known, mean, spread) in enumerate(zip(heads, means, self.spreads, strict=True)):
            scale, weight = spread(torch.cat((known, told[..., : PLANES + plane]), dim=-1)).unbind(dim=-1)
            predictions.append(Prediction(mean, scale, weight))
        return planes - reference, predictions

    @property
    def macs(self) -> int:
        """Multiply-accumulates for a pixel."""
        return sum(layer.weight.numel() for layer in self.modules() if isinstance(layer, nn.Linear)) + PLANES


def _shifted(planes: Tensor, places: tuple[tuple[int, int], ...]) -> Tensor:
    """(B, C, H, W) to (B, K, C, H, W): what lies at each of the places; edges are repeated."""
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (REACH_LEFT, REACH_RIGHT, REACH_UP, 0), mode="replicate")
    return torch.stack(
        [padded[..., REACH_UP - up :, REACH_LEFT - left :][..., :height, :width] for up, left in places], dim=1
    )


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
        self._heads, self._means, self._spreads = (
            [_Layer(layer, _HIDDEN_BITS, _LARGEST_HIDDEN) for layer in layers]
            for layers in (mlp.heads, mlp.means, mlp.spreads)
        )
        self._logarithms = mlp.logarithms.cpu().numpy().astype(np.float32)
        self._width, self._head = mlp.second.out_features, self._heads[0].outputs

    def start(self, seen: Floats, errors: Floats) -> None:
        """Take the neighbours (K, 3, n) of pixels, made differences in place, and the errors of the nearest."""
        self.reference: Floats = np.floor((seen[_LEFT] + seen[_ABOVE]) * np.float32(0.5))
        seen -= self.reference
        x = seen.reshape(-1, seen.shape[-1])
        self._linears = self._linear.sums(x)
        self._known = np.empty((self._width + PLANES, x.shape[1]), dtype=np.float32)
        self._known[: self._width] = self._second.hidden(self._first.hidden(x))
        self._told = np.empty((self._head + 2 * PLANES, x.shape[1]), dtype=np.float32)
        self._told[self._head : self._head + PLANES] = self._logarithm(errors.sum(axis=0))

    def predict(self, plane: int) -> tuple[Ints, Ints, Ints]:
        """The mean above the reference in 2^-MEAN_BITS grey levels, and the numbers of scale and weight."""
        self._told[: self._head] = self._heads[plane].hidden(self._known[: self._width + plane])
        means, spreads = self._means[plane], self._spreads[plane]
        mean = self._linear.rounded(self._linears[plane], MEAN_BITS)
        mean += means.rounded(means.sums(self._told[: self._head])[0], MEAN_BITS, _UNIT)
        scale, weight = spreads.rounded(spreads.sums(self._told[: self._head + PLANES + plane]), 0)
        return mean, scale, weight

    def tell(self, plane: int, here: Floats, mean: Ints) -> Floats:
        """What the plane is here, above the reference as the mean is: known to those after it. Returns the errors."""
        self._linears += self._linear.column(plane - PLANES) * here
        scaled = here * np.float32(2 ** (_HIDDEN_BITS - _INPUT_BITS))
        np.minimum(scaled, _LARGEST_HIDDEN, out=scaled)
        np.maximum(scaled, -_LARGEST_HIDDEN, out=self._known[self._width + plane])
        errors: Floats = np.abs(here * np.float32(2**MEAN_BITS) - mean)
        errors *= np.float32(2.0 ** (_ERROR_BITS - MEAN_BITS))
        np.floor(errors, out=errors)
        self._told[self._head + PLANES + plane] = self._logarithm(errors)
        return errors

    def _logarithm(self, errors: Floats) -> Floats:
        return self._logarithms.take(errors.astype(np.int32), mode="clip")


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
        self._bits, self.outputs = bits + input_bits, len(integers)

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
