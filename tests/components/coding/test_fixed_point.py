import numpy as np
import pytest
import torch
from torch import nn

from components.coding.fixed_point import LARGEST_ACTIVATION, UNIT, Network, rounding_shift
from components.entropy.integers import layers
from components.layers.fixed_point import Gate, leaky_relu
from components.layers.hyper import hyper_synthesis


def test_a_network_is_the_trained_one_rounded() -> None:
    torch.manual_seed(0)
    trained = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1),
        leaky_relu(),
        nn.Sequential(nn.Conv2d(6, 12, 5, padding=2), nn.PixelShuffle(2)),
        nn.Conv2d(3, 3, 3, padding=1, groups=3),
        nn.Conv2d(3, 10, 1),
        Gate(),
    )
    x = np.round(np.random.default_rng(0).normal(0, 3 * UNIT, (4, 7, 9)))
    integers = Network(*layers(trained, "net"))(x)
    with torch.inference_mode():
        floats = trained.double()(torch.from_numpy(x / UNIT)[None])[0].numpy()
    assert (integers == np.round(integers)).all()
    assert np.abs(floats).max() > 0.3
    np.testing.assert_allclose(integers / UNIT, floats, rtol=0, atol=4 / UNIT)


def test_no_order_of_summation_changes_a_network() -> None:
    torch.manual_seed(0)
    trained = nn.Sequential(*hyper_synthesis(16, 16))
    z = np.random.default_rng(0).integers(-40, 41, (16, 6, 6)).astype(np.float64) * UNIT
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    expected = Network(*layers(trained, "net"))(z)
    first = trained[0]
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight.copy_(first.weight[:, order].clone())
    np.testing.assert_array_equal(Network(*layers(trained, "net"))(z[order.numpy()]), expected)
    assert np.abs(expected).max() > UNIT / 2


def test_activations_are_clamped() -> None:
    layer = nn.Conv2d(1, 1, 1)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    x = np.array([[[-4.0 * LARGEST_ACTIVATION, 5.0, 4.0 * LARGEST_ACTIVATION]]])
    clamped = Network(*layers(nn.Sequential(layer), "net"))(x)
    assert clamped.ravel().tolist() == [-LARGEST_ACTIVATION, 5, LARGEST_ACTIVATION]


def test_leaky_relu_has_a_slope_that_integers_can_take() -> None:
    x = np.arange(-64.0, 64).reshape(1, 1, -1)
    leaky = Network(*layers(nn.Sequential(leaky_relu()), "net"))(x)
    np.testing.assert_array_equal(leaky, np.where(x < 0, np.floor(x / 8), x))


def test_a_rounding_shift_rounds_halves_up() -> None:
    x = np.array([-6.0, -5, -2, -1, 0, 1, 2, 5, 6])
    assert rounding_shift(x, 2).tolist() == [-1, -1, 0, 0, 0, 0, 1, 1, 2]


def test_weights_that_are_too_large_are_refused() -> None:
    layer = nn.Conv2d(4, 2, 1)
    nn.init.constant_(layer.weight, 2.0**17)
    with pytest.raises(OverflowError, match="too large"):
        Network(*layers(nn.Sequential(layer), "net"))


def test_a_layer_without_a_fixed_point_form_is_refused() -> None:
    for layer in (nn.ReLU(), nn.LeakyReLU(0.1), nn.PixelShuffle(3)):
        with pytest.raises(TypeError, match="no fixed-point form"):
            layers(nn.Sequential(layer), "net")
