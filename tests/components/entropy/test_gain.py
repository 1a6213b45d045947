import math

import pytest
import torch

from components.coding.gain import Gains, shift_of
from components.entropy.gain import GainVector


@pytest.mark.parametrize("gain", [0.1, 0.5, 0.97, 1.0, 1.4, 9.0])
def test_gains_are_nearly_what_was_asked_and_steps_their_inverse(gain: float) -> None:
    vector = GainVector(16)
    quantiser = vector.quantiser(shift_of(gain))
    assert (quantiser.gain / 2**16).flatten().tolist() == pytest.approx([gain] * 16, rel=4e-4)
    torch.testing.assert_close(
        quantiser.gain * quantiser.step, torch.full((16, 1, 1), 2.0**32).double(), rtol=1e-3, atol=0
    )
    with torch.inference_mode():
        torch.testing.assert_close(
            vector(torch.tensor([math.log(gain)])).double()[0], quantiser.gain / 2**16, rtol=4e-4, atol=0
        )


def test_groups_of_channels_follow_a_gain_by_their_exponents() -> None:
    vector = GainVector(16, groups=4)
    with torch.no_grad():
        vector.exponent.copy_(torch.tensor([0.5, 1.0, 1.5, 0.0]))
        quantiser = vector.quantiser(shift_of(2.0))
    expected = torch.tensor([2**0.5, 2, 2**1.5, 1]).repeat_interleave(4).double()
    torch.testing.assert_close(quantiser.gain.flatten() / 2**16, expected, rtol=1e-3, atol=0)


def test_coders_have_the_same_quantisers() -> None:
    vector = GainVector(16, groups=4)
    with torch.no_grad():
        vector.exponent.copy_(torch.tensor([0.5, 1.0, 1.53, 0.0]))
    gains = Gains(vector.integers())
    for shift in (-4000, -77, 0, 3, 5000):
        for ours, theirs in zip(gains.quantiser(shift), vector.quantiser(shift), strict=True):
            assert (torch.from_numpy(ours) == theirs).all()
