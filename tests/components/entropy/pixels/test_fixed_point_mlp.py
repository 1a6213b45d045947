import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.entropy.pixels.causal_mlp import CausalMlp
from components.entropy.pixels.fixed_point_mlp import MEAN_BITS, FixedPointMlp
from components.entropy.pixels.neighbourhood import NEAREST, NEIGHBOURS, PLANES

INSIDE = slice(6, None), slice(6, -6)


def context_of(planes: Tensor, places: tuple[tuple[int, int], ...]) -> np.ndarray:
    """(K, 3, n) for the pixels INSIDE, away from the edges."""
    height, width = planes.shape[-2:]
    context = [
        planes[0, :, 6 - up : height - up, 6 - left : width - 6 - left].reshape(PLANES, -1) for up, left in places
    ]
    return torch.stack(context).numpy().copy()


def test_the_fixed_point_network_is_the_trained_one(mlp: CausalMlp, planes: Tensor) -> None:
    with torch.inference_mode():
        here, predictions = mlp(planes)
    off = torch.stack([(here[:, plane] - each.mean).abs() for plane, each in enumerate(predictions)], dim=1)
    exact = FixedPointMlp(mlp)
    exact.start(context_of(planes, NEIGHBOURS), context_of((8 * off).floor(), NEAREST))
    for plane, prediction in enumerate(predictions):
        mean, scale, weight = exact.predict(plane)
        expected = [part[0][INSIDE].flatten().numpy() for part in prediction]
        assert np.abs(mean / 2**MEAN_BITS - expected[0]).mean() < 0.1
        assert np.abs(mean / 2**MEAN_BITS - expected[0]).max() < 1
        assert np.quantile(np.abs(scale - expected[1]), 0.99) < 0.8, "rounded to whole numbers, which half is all right"
        assert np.quantile(np.abs(weight - expected[2]), 0.99) < 0.8
        values = here[0, plane][INSIDE].flatten().int().numpy()
        assert np.array_equal(values, planes[0, plane][INSIDE].flatten().numpy() - exact.reference[plane])
        errors = exact.update(plane, values, mean)
        assert np.abs(errors / 8 - off[0, plane][INSIDE].flatten().numpy()).mean() < 0.15


def test_errors_nearby_widen_what_is_expected(mlp: CausalMlp, planes: Tensor) -> None:
    """In the fixed-point network, with weights for it."""
    with torch.no_grad():
        for plane, layer in enumerate(mlp.spreads):
            assert isinstance(layer, nn.Linear)
            layer.weight.zero_()
            layer.weight[0, 12 + plane] = 2.0  # of head: 12
    context = context_of(planes, NEIGHBOURS)
    scales = []
    for size in (0.0, 3.0, 100.0):
        exact = FixedPointMlp(mlp)
        exact.start(context.copy(), np.full((len(NEAREST), *context.shape[1:]), 8 * size, np.float32))
        scales.append(exact.predict(0)[1])
    assert (scales[0] == 14).all()
    assert (scales[1] == round(14 + 2 * np.log2(1 + 6 * 3))).all()
    assert (scales[2] > scales[1]).all(), "as large as a logarithm goes"


def test_the_fixed_point_network_does_not_depend_on_how_it_is_run(mlp: CausalMlp, planes: Tensor) -> None:
    """All pixels at once against seven at a time, and hidden units in another order: the same integers."""
    shuffled = CausalMlp(24, 12, 14.0)
    shuffled.load_state_dict(mlp.state_dict())
    order = torch.randperm(24)
    with torch.no_grad():
        shuffled.first.weight.copy_(mlp.first.weight[order])
        shuffled.first.bias.copy_(mlp.first.bias[order])
        shuffled.second.weight.copy_(mlp.second.weight[:, order])
    context = context_of(planes, NEIGHBOURS)
    errors = np.abs(context_of(planes, NEAREST))

    def run(network: CausalMlp, part: slice) -> np.ndarray:
        exact = FixedPointMlp(network)
        exact.start(context[..., part].copy(), errors[..., part])
        outputs = []
        for plane in range(PLANES):
            outputs.append(np.stack(exact.predict(plane)))
            here = 3 - exact.reference[plane].astype(np.int32) % 5
            outputs.append(np.broadcast_to(exact.update(plane, here, outputs[-1][0]), outputs[-1].shape))
        return np.stack(outputs)

    whole = run(mlp, slice(None))
    pieces = [run(mlp, slice(k, k + 7)) for k in range(0, context.shape[-1], 7)]
    assert np.array_equal(np.concatenate(pieces, axis=-1), whole)
    assert np.array_equal(run(shuffled, slice(None)), whole)


def test_weights_that_integers_cannot_hold_are_refused(mlp: CausalMlp) -> None:
    with torch.no_grad():
        mlp.second.weight.mul_(1e5)
    with pytest.raises(OverflowError, match="too large for exact sums"):
        FixedPointMlp(mlp)
