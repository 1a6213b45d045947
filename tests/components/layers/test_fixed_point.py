import pytest
import torch
from torch import nn

from components.coding.fixed_point import UNIT
from components.layers.fixed_point import fixed_point_forward, leaky_relu, rounding_shift, to_fixed_point
from components.layers.hyper import hyper_synthesis

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_fixed_point_network_is_the_float_one_rounded() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*hyper_synthesis(24, 40))
    z = torch.randint(-9, 10, (2, 24, 5, 7), generator=seeded()).float()
    with torch.inference_mode():
        integers = fixed_point_forward(layers, to_fixed_point(z))
        floats = layers.double()(z.double())
    assert torch.equal(integers, integers.round())
    assert (integers / UNIT - floats).abs().max() < 4 / UNIT
    assert floats.abs().max() > 0.5


@pytest.mark.filterwarnings("ignore:TF32")  # of the flag that is put back
def test_no_order_of_summation_changes_a_fixed_point_network() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*hyper_synthesis(16, 16))
    z = torch.randint(-40, 41, (1, 16, 6, 6), generator=seeded()).double() * UNIT
    order = torch.randperm(16, generator=seeded(1))
    shuffled = nn.Sequential(*hyper_synthesis(16, 16))
    shuffled.load_state_dict(layers.state_dict())
    with torch.inference_mode():
        first = shuffled[0]
        assert isinstance(first, nn.Conv2d)
        first.weight.data.copy_(first.weight.data[:, order].clone())
        expected = fixed_point_forward(layers, z)
        assert torch.equal(fixed_point_forward(shuffled, z[:, order]), expected)
        batch = fixed_point_forward(layers, z.repeat(4, 1, 1, 1))
        assert torch.equal(batch, expected.expand_as(batch))
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(fixed_point_forward(layers, z), expected)


def test_weights_that_could_overflow_are_refused() -> None:
    layer = nn.Conv2d(4, 4, 3)
    with torch.no_grad():
        layer.weight.fill_(2.0**14)
    with torch.inference_mode(), pytest.raises(OverflowError, match="too large"):
        fixed_point_forward([layer], torch.zeros(1, 4, 5, 5, dtype=torch.float64))
    with pytest.raises(TypeError, match="GELU"):
        fixed_point_forward([nn.GELU()], torch.zeros(1))


def test_a_rounding_shift_rounds_halves_up() -> None:
    x = torch.tensor([-6.0, -5, -2, -1, 0, 1, 2, 5, 6], dtype=torch.float64)
    assert rounding_shift(x, 2).tolist() == [-1, -1, 0, 0, 0, 0, 1, 1, 2]


def test_leaky_relu_has_a_slope_that_integers_can_take() -> None:
    x = torch.arange(-64.0, 64, dtype=torch.float64)
    assert torch.equal(fixed_point_forward([leaky_relu()], x), torch.where(x < 0, (x / 8).floor(), x))
