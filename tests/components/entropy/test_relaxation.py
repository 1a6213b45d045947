import math

import pytest
import torch

from components.entropy.relaxation import (
    EntropyOutput,
    add_uniform_noise,
    gaussian_likelihood,
    log_interval_probability,
    lower_bound,
    position_bits,
    round_straight_through,
    truncated_gaussian_mean,
)


def test_noise_is_uniform_over_a_step() -> None:
    torch.manual_seed(0)
    noise = add_uniform_noise(torch.zeros(100_000), 0.5)
    assert noise.abs().max() <= 0.25
    assert noise.mean().abs() < 2e-3
    assert noise.var().item() == pytest.approx(0.5**2 / 12, rel=0.02)


def test_rounding_passes_gradients_through() -> None:
    y = torch.tensor([0.4, 0.6, -1.7], requires_grad=True)
    rounded = round_straight_through(y)
    rounded.backward(torch.tensor([1.0, 2.0, 3.0]))  # type: ignore[no-untyped-call]
    assert rounded.tolist() == [0, 1, -2]
    assert y.grad is not None
    assert y.grad.tolist() == [1, 2, 3]


def test_below_a_lower_bound_only_gradients_that_lead_up_pass() -> None:
    x = torch.tensor([-1.0, -1.0, 2.0, 2.0], requires_grad=True)
    bounded = lower_bound(x, 0.5)
    bounded.backward(torch.tensor([1.0, -1.0, 1.0, -1.0]))  # type: ignore[no-untyped-call]
    assert bounded.tolist() == [0.5, 0.5, 2, 2]
    assert x.grad is not None
    assert x.grad.tolist() == [0, -1, 1, -1]


@pytest.mark.parametrize("scale", [0.11, 1.0, 30.0])
def test_gaussian_likelihoods_of_all_integers_add_up_to_one(scale: float) -> None:
    distance = torch.arange(-400.0, 401).double() - 0.3
    likelihood = gaussian_likelihood(distance, torch.tensor(scale).double())
    assert likelihood.sum().item() == pytest.approx(1)
    assert likelihood.argmax() == 400


def test_interval_probabilities_and_means_do_not_underflow() -> None:
    edges = torch.linspace(-40, 40, 161, dtype=torch.float64)
    low, high = edges[:-1], edges[1:]
    log_probability = log_interval_probability(low, high)
    assert torch.isfinite(log_probability).all()
    assert log_probability.exp().sum().item() == pytest.approx(1)
    assert log_probability[-1].item() == pytest.approx(
        -(39.5**2) / 2 - math.log(39.5 * math.sqrt(2 * math.pi)), rel=1e-3
    )
    mean = truncated_gaussian_mean(low, high)
    assert ((low <= mean) & (mean <= high)).all()
    assert (log_probability.exp() * mean).sum().abs() < 1e-9
    assert mean[-1].item() == pytest.approx(39.5 + 1 / 39.5, abs=1e-3)


def test_bits_are_summed_over_channels_and_positions() -> None:
    likelihood = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1).expand(3, 2, 4, 5)
    output = EntropyOutput(torch.zeros(3, 2, 4, 5), position_bits(likelihood))
    assert torch.equal(output.position_bits, torch.full((3, 4, 5), 3.0))
    assert output.bits.tolist() == [60, 60, 60]
