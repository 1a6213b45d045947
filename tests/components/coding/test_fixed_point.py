import numpy as np
import pytest
import torch
from torch import nn

from components.coding.fixed_point import LARGEST_ACTIVATION, UNIT, Network
from components.entropy.integers import layers
from components.layers.fixed_point import Gate, fixed_point_forward, leaky_relu


def test_a_network_has_the_integers_of_its_torch_form() -> None:
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
    x[0, 0, :2] = -4 * LARGEST_ACTIVATION, 4 * LARGEST_ACTIVATION
    flat = [layer for layer in trained.modules() if not isinstance(layer, nn.Sequential)]
    expected = fixed_point_forward(flat, torch.from_numpy(x)[None])[0]
    np.testing.assert_array_equal(Network(*layers(trained, "net"))(x), expected.numpy())


def test_weights_that_are_too_large_are_refused() -> None:
    layer = nn.Conv2d(4, 2, 1)
    nn.init.constant_(layer.weight, 2.0**17)
    with pytest.raises(OverflowError, match="too large"):
        Network(*layers(nn.Sequential(layer), "net"))


def test_a_layer_without_a_fixed_point_form_is_refused() -> None:
    for layer in (nn.ReLU(), nn.LeakyReLU(0.1), nn.PixelShuffle(3)):
        with pytest.raises(TypeError, match="no fixed-point form"):
            layers(nn.Sequential(layer), "net")
