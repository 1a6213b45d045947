import math

import numpy as np
import pytest
import torch

from components.coding.gain import Gains, shift_of
from components.entropy.gain import GainVector


@pytest.mark.parametrize("gain", [0.1, 0.5, 0.97, 1.0, 1.4, 9.0])
def test_gains_are_nearly_what_was_asked_and_steps_their_inverse(gain: float) -> None:
    vector = GainVector(16)
    quantiser = Gains(vector.integers()).quantiser(shift_of(gain))
    assert (quantiser.gain / 2**16).ravel().tolist() == pytest.approx([gain] * 16, rel=4e-4)
    np.testing.assert_allclose(quantiser.gain * quantiser.step, 2.0**32, rtol=1e-3)
    with torch.inference_mode():
        in_floats = vector(torch.tensor([math.log(gain)])).double()[0]
    np.testing.assert_allclose(in_floats, quantiser.gain / 2**16, rtol=4e-4)


def test_groups_of_channels_follow_a_gain_by_their_exponents() -> None:
    vector = GainVector(16, groups=4)
    with torch.no_grad():
        vector.exponent.copy_(torch.tensor([0.5, 1.0, 1.5, 0.0]))
    quantiser = Gains(vector.integers()).quantiser(shift_of(2.0))
    expected = np.repeat([2**0.5, 2, 2**1.5, 1], 4)
    np.testing.assert_allclose(quantiser.gain.ravel() / 2**16, expected, rtol=1e-3)
