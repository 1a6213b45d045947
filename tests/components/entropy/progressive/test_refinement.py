import pytest
import torch

from components.coding.fixed_point import UNIT
from components.entropy.progressive.refinement import Refinement
from components.layers.fixed_point import to_fixed_point

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_refinement_starts_without_effect_and_in_fixed_point_is_the_float_network() -> None:
    torch.manual_seed(0)
    net, psi, decoded = Refinement(4, 6), torch.randn(2, 6, 8, 8), torch.randn(2, 12, 8, 8)
    with torch.inference_mode():
        assert not net(psi, decoded).any()
        torch.nn.init.normal_(net.weigh[-1].weight, std=0.5)  # type: ignore[arg-type]
        moved = net(psi, decoded)
        integers = net.forward_fixed_point(to_fixed_point(psi), to_fixed_point(decoded))
    assert moved.shape == (2, 8, 8, 8)
    assert moved.abs().max() > 0.5
    assert torch.equal(integers, integers.round())
    torch.testing.assert_close(integers / UNIT, moved.double(), rtol=0, atol=0.03)
