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


class FixedPointMlp:
    """A CausalMlp in integer arithmetic, the same on every machine; float32 holds the integers.

    Products and partial sums are multiples of a power of two, fewer than 2^24 of it, which float32 holds without
    rounding in any order: each layer's weights have as many fractional bits as that allows. OverflowError says that
    some are too large for any. Among the inputs of a layer is a one, whose weights are its biases.
    """

    def __init__(self, mlp: CausalMlp):
        width, head = mlp.second.out_features, mlp.heads[0].out_features
        self._width, self._head = int(width), int(head)  # type: ignore[arg-type]
        self._first = _weights(mlp.first, _INPUT_BITS, _LARGEST_INPUT, 2.0**_HIDDEN_BITS)
        self._second = _weights(mlp.second, _HIDDEN_BITS, _LARGEST_HIDDEN, 2.0**_HIDDEN_BITS)
        self._linear = _weights(mlp.linear, 0, _LARGEST_INPUT, 2.0**MEAN_BITS)
        self._across: Floats = mlp.across.detach().cpu().numpy() * np.float32(2**MEAN_BITS)
        self._heads, self._outputs = [], []
        for head, mean, spread in zip(mlp.heads, mlp.means, mlp.spreads, strict=True):
            self._heads.append(_weights(head, _HIDDEN_BITS, _LARGEST_HIDDEN, 2.0**_HIDDEN_BITS, self._width))
            of_mean = _weights(mean, _HIDDEN_BITS, _LARGEST_HIDDEN, _UNIT * 2**MEAN_BITS)
            of_spread = _weights(spread, _HIDDEN_BITS, _LARGEST_HIDDEN, 1.0, self._head)
            more = of_spread.shape[1] - of_mean.shape[1]
            self._outputs.append(np.concatenate((np.pad(of_mean, ((0, 0), (0, more))), of_spread)))
        self._logarithms = mlp.logarithms.cpu().numpy().astype(np.float32)

    def start(self, seen: Floats, errors: Floats) -> None:
        """Take the neighbours (K, 3, n) of pixels, and the errors of the nearest (NEAREST, 3, n)."""
        self.reference: Floats = np.floor((seen[_LEFT] + seen[_ABOVE]) * np.float32(0.5))
        count = seen.shape[-1]
        x = _with_one(seen.shape[0] * PLANES, count)
        np.subtract(seen, self.reference, out=x[:-1].reshape(seen.shape))
        between = _with_one(self._width, count)
        _activate(self._first, x, between[:-1])
        # Hidden units, a one, then what becomes known of the planes here.
        self._known = _with_one(self._width, count, PLANES)
        _activate(self._second, between, self._known[: self._width])
        self._told = _with_one(self._head, count, 2 * PLANES)
        self._told[self._head + 1 : self._head + 1 + PLANES] = self._logarithm(errors.sum(axis=0).astype(np.int32))
        self._linears: Floats = self._linear @ x

    def predict(self, plane: int) -> tuple[Ints, Ints, Ints]:
        """The mean above the reference in 2^-MEAN_BITS grey levels, and the numbers of scale and weight."""
        _activate(self._heads[plane], self._known[: self._width + 1 + plane], self._told[: self._head])
        output: Floats = self._outputs[plane] @ self._told[: self._head + 1 + PLANES + plane]
        output[0] += self._linears[plane]
        mean, scale, weight = np.rint(output, out=output).astype(np.int32)
        return mean, scale, weight

    def update(self, plane: int, here: Ints, mean: Ints) -> Ints:
        """What the plane is here, above the reference as the mean is: known to those after it. Returns the errors."""
        errors: Ints = np.abs((here << MEAN_BITS) - mean) >> MEAN_BITS - _ERROR_BITS
        if plane + 1 < PLANES:
            known = self._known[self._width + 1 + plane]
            known[:] = here
            self._linears[plane + 1 :] += self._across[plane + 1 :, plane, None] * known
            known *= 2 ** (_HIDDEN_BITS - _INPUT_BITS)
            _clip(known, -_LARGEST_HIDDEN, _LARGEST_HIDDEN)
            self._told[self._head + 1 + PLANES + plane] = self._logarithm(errors)
        return errors

    def _logarithm(self, errors: Ints) -> Floats:
        logarithms: Floats = self._logarithms.take(errors, mode="clip")
        return logarithms


def _weights(layer: nn.Module, input_bits: int, largest: int, unit: float, bias_at: int | None = None) -> Floats:
    """The weights of a linear layer, its bias the column `bias_at`, else the last, for outputs in units of 1 / `unit`.

    Inputs are integers with `input_bits` fractional bits, none above `largest`, and a one.
    """
    assert isinstance(layer, nn.Linear)
    weight, bias = (part.detach().cpu().double().numpy() for part in (layer.weight, layer.bias))
    at = layer.in_features if bias_at is None else bias_at
    limits = np.insert(np.full(layer.in_features, float(largest)), at, 1)
    for bits in range(_FINEST, -1, -1):
        integers = np.rint(np.insert(weight, at, bias * 2**input_bits, axis=1) * 2**bits)
        if (np.abs(integers) @ limits).max() <= _LARGEST_SUM:
            weights: Floats = (integers * (unit * 2.0 ** -(bits + input_bits))).astype(np.float32)
            return weights
    raise OverflowError("the weights of a predictor are too large for integer arithmetic in float32")


def _with_one(inputs: int, count: int, more: int = 0) -> Floats:
    """Inputs of `count` pixels, to be filled: some, a one, and some more."""
    made = np.empty((inputs + 1 + more, count), dtype=np.float32)
    made[inputs] = 1
    return made


def _activate(weights: Floats, x: Floats, out: Floats) -> None:
    """Hidden units: integers from zero to the largest."""
    np.matmul(weights, x, out=out)
    np.rint(out, out=out)
    _clip(out, 0, _LARGEST_HIDDEN)


def _clip(values: Floats, low: int, high: int) -> None:
    np.maximum(values, low, out=values)
    np.minimum(values, high, out=values)
