"""The causal MLP in fixed-point arithmetic, for coding: the same integers on every machine.

As in components.coding.fixed_point, but with float32, whose matrix products are fast: products and partial sums are
multiples of a power of two, fewer than 2^24 of it, which float32 holds without rounding in any order. The weights of
each layer have as many fractional bits as that allows.

Format: inputs are whole grey levels up to 510; hidden units have HIDDEN_BITS fractional bits; means have MEAN_BITS.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .causal_mlp import ERROR_BITS, GREY_UNIT, HIDDEN_BITS, CausalMlp
from .neighbourhood import ABOVE, LEFT, PLANES

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

MEAN_BITS = 6
"""Fractional bits of a mean, in grey levels."""

_INPUT_BITS, _LARGEST_INPUT = 4, 510
_LARGEST_HIDDEN = (1 << 11) - 1
_LARGEST_SUM = (1 << 24) - 1  # of integers that float32 holds without rounding
_FINEST = 14  # fractional bits of a weight, at the most


class FixedPointMlp:
    """Predicts n pixels at a time, plane by plane.

        start(context, errors) -> for each plane: predict(plane) -> code the values -> update(plane, values, mean)

    Among the inputs of a layer is a one, whose weights are the layer's biases.

    Raises:
        OverflowError: weights are too large for exact sums at any precision.
    """

    def __init__(self, mlp: CausalMlp):
        width, head = mlp.second.out_features, mlp.heads[0].out_features
        self._width, self._head = int(width), int(head)  # type: ignore[arg-type]
        self._first = _weights(mlp.first, _INPUT_BITS, _LARGEST_INPUT, 2.0**HIDDEN_BITS)
        self._second = _weights(mlp.second, HIDDEN_BITS, _LARGEST_HIDDEN, 2.0**HIDDEN_BITS)
        self._linear = _weights(mlp.linear, 0, _LARGEST_INPUT, 2.0**MEAN_BITS)
        self._across: Floats = mlp.across.detach().cpu().numpy() * np.float32(2**MEAN_BITS)
        self._heads, self._outputs = [], []
        for head, mean, spread in zip(mlp.heads, mlp.means, mlp.spreads, strict=True):
            self._heads.append(_weights(head, HIDDEN_BITS, _LARGEST_HIDDEN, 2.0**HIDDEN_BITS, self._width))
            of_mean = _weights(mean, HIDDEN_BITS, _LARGEST_HIDDEN, GREY_UNIT * 2**MEAN_BITS)
            of_spread = _weights(spread, HIDDEN_BITS, _LARGEST_HIDDEN, 1.0, self._head)
            more = of_spread.shape[1] - of_mean.shape[1]
            self._outputs.append(np.concatenate((np.pad(of_mean, ((0, 0), (0, more))), of_spread)))
        self._logarithms = mlp.logarithms.cpu().numpy().astype(np.float32)

    def start(self, context: Floats, errors: Floats) -> None:
        """Take the context of n pixels.

        Args:
            context: (K, 3, n) values of the context pixels, in grey levels.
            errors: (len(NEAREST), 3, n) errors of the predictions of the nearest, as `update` returns them.
        """
        self.reference: Floats = np.floor((context[LEFT] + context[ABOVE]) * np.float32(0.5))
        count = context.shape[-1]
        x = _with_one(context.shape[0] * PLANES, count)
        np.subtract(context, self.reference, out=x[:-1].reshape(context.shape))
        between = _with_one(self._width, count)
        _activate(self._first, x, between[:-1])
        # Shared hidden units, a one, then the planes of the pixels as they become known.
        self._hidden = _with_one(self._width, count, PLANES)
        _activate(self._second, between, self._hidden[: self._width])
        # Hidden units of a plane, a one, then logarithms of errors nearby and of the planes so far.
        self._head_inputs = _with_one(self._head, count, 2 * PLANES)
        nearby = self._logarithm(errors.sum(axis=0).astype(np.int32))
        self._head_inputs[self._head + 1 : self._head + 1 + PLANES] = nearby
        self._linears: Floats = self._linear @ x

    def predict(self, plane: int) -> tuple[Ints, Ints, Ints]:
        """The distribution of a plane (n,): mean above the reference in 2^-MEAN_BITS, numbers of scale and weight."""
        _activate(self._heads[plane], self._hidden[: self._width + 1 + plane], self._head_inputs[: self._head])
        output: Floats = self._outputs[plane] @ self._head_inputs[: self._head + 1 + PLANES + plane]
        output[0] += self._linears[plane]
        mean, scale, weight = np.rint(output, out=output).astype(np.int32)
        return mean, scale, weight

    def update(self, plane: int, here: Ints, mean: Ints) -> Ints:
        """Take the values of a plane, for the planes after it.

        Args:
            plane: its number.
            here: (n,) values above the reference, in grey levels.
            mean: (n,) predicted means above the reference, in 2^-MEAN_BITS.

        Returns:
            (n,) absolute errors of the predictions, in 2^-ERROR_BITS.
        """
        errors: Ints = np.abs((here << MEAN_BITS) - mean) >> MEAN_BITS - ERROR_BITS
        if plane + 1 < PLANES:
            values = self._hidden[self._width + 1 + plane]
            values[:] = here
            self._linears[plane + 1 :] += self._across[plane + 1 :, plane, None] * values
            values *= 2 ** (HIDDEN_BITS - _INPUT_BITS)
            _clip(values, -_LARGEST_HIDDEN, _LARGEST_HIDDEN)
            self._head_inputs[self._head + 1 + PLANES + plane] = self._logarithm(errors)
        return errors

    def _logarithm(self, errors: Ints) -> Floats:
        logarithms: Floats = self._logarithms.take(errors, mode="clip")
        return logarithms


def _weights(layer: nn.Module, input_bits: int, largest: int, unit: float, bias_at: int | None = None) -> Floats:
    """The weights of a linear layer in fixed point, its bias among them.

    Args:
        layer: an nn.Linear.
        input_bits: fractional bits of the inputs.
        largest: bound of the magnitude of the inputs, as integers.
        unit: what 1 is in the outputs.
        bias_at: column of the bias, whose input is a one; the last column by default.

    Returns:
        (outputs, inputs + 1).
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
    raise OverflowError("the weights of a predictor are too large for exact sums in float32")


def _with_one(inputs: int, count: int, more: int = 0) -> Floats:
    """Uninitialised inputs (inputs + 1 + more, count) of a layer, with a row of ones after the first `inputs`."""
    made = np.empty((inputs + 1 + more, count), dtype=np.float32)
    made[inputs] = 1
    return made


def _activate(weights: Floats, x: Floats, out: Floats) -> None:
    """Hidden units, written to `out`: linear layer, rounding, ReLU and a bound."""
    np.matmul(weights, x, out=out)
    np.rint(out, out=out)
    _clip(out, 0, _LARGEST_HIDDEN)


def _clip(values: Floats, low: int, high: int) -> None:
    np.maximum(values, low, out=values)
    np.minimum(values, high, out=values)
