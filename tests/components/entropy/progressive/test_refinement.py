import numpy as np
import pytest
import torch

from components.coding import trit_planes
from components.coding.fixed_point import UNIT
from components.entropy.progressive.refinement import Refinement

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_refinement_starts_without_effect_and_in_fixed_point_is_the_float_network() -> None:
    torch.manual_seed(0)
    net, psi, decoded = Refinement(4, 6), torch.randn(1, 6, 8, 8), torch.randn(1, 12, 8, 8)
    with torch.inference_mode():
        assert not net(psi, decoded).any()
        torch.nn.init.normal_(net.weigh[-1].weight, std=0.5)  # type: ignore[arg-type]
        moved = net(psi, decoded)
        in_integers = trit_planes.Refinement(*net.coding_parts("net"))
    integers = in_integers(*(np.round(each[0].double().numpy() * UNIT) for each in (psi, decoded)))
    assert moved.shape == (1, 8, 8, 8)
    assert moved.abs().max() > 0.5
    assert (integers == np.round(integers)).all()
    np.testing.assert_allclose(integers / UNIT, moved[0], rtol=0, atol=0.03)
