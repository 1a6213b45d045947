"""Refinement of latents: its soft rounding, a loss whose minimum is known, and its rate beside real bytes."""

import itertools

import pytest
import torch
from torch import Tensor

from components.entropy.context import HierarchicalContext
from components.entropy.hyperprior import HyperPrior
from components.entropy.refinement import RefinableEntropyModel, Relaxation, moved_near, refine, soft_rounded

pytestmark = pytest.mark.usefixtures("one_thread")


def test_soft_rounding_comes_closer_to_the_nearest_integer_as_it_cools() -> None:
    values = torch.tensor([-1.7, -0.2, 0.4, 0.6, 3.1])
    distances = []
    for temperature in (1.0, 0.5, 0.2):
        soft = soft_rounded(values, temperature, 0.0, torch.Generator())
        assert (soft >= values.floor()).all()
        assert (soft <= values.ceil()).all()
        distances.append((soft - values.round()).abs())
    assert all((cooler <= hotter).all() for hotter, cooler in itertools.pairwise(distances))
    assert distances[-1].max() < 0.02


def test_soft_rounding_has_a_gradient_up_and_noise_by_its_generator() -> None:
    values = torch.full((1000,), 0.45, requires_grad=True)
    first, again = (soft_rounded(values, 0.3, 0.5, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.std() > 0.05
    (gradient,) = torch.autograd.grad(first.sum(), values)
    assert (gradient > 0).all()


def test_refinement_finds_better_integers_than_rounding() -> None:
    """Coupled elements: rounding each to its nearest integer leaves errors that neighbours can undo."""
    torch.manual_seed(2)
    mixing = torch.eye(40) + 0.6 * torch.rand(40, 40)
    y, z = torch.randn(40) * 2, torch.randn(40) * 2

    def loss(y_: Tensor, z_: Tensor, relax: Relaxation) -> Tensor:
        return (mixing @ (relax(y_) - y)).square().mean() + (mixing @ (relax(z_) - z)).square().mean()

    better_y, better_z = refine(y, z, loss, step_size=1.0, steps=40)
    rounded = loss(y, z, torch.round)
    assert loss(better_y, better_z, torch.round) < 0.5 * rounded
    assert loss(better_y, z, torch.round) < rounded, "y was refined"
    assert loss(y, better_z, torch.round) < rounded, "z was refined"


def test_moved_values_round_to_the_decisions() -> None:
    values = torch.tensor([0.2, 0.6, -0.6, 1.49])
    decisions = torch.tensor([0.0, 0.0, -1.0, 1.0])
    moved = moved_near(values, decisions)
    assert torch.equal(moved.round(), decisions)
    torch.testing.assert_close(moved, torch.tensor([0.2, 0.45, -0.6, 1.45]))


@pytest.fixture(params=[(), (5, 7)], ids=["no groups", "groups"])
def model(request: pytest.FixtureRequest) -> HyperPrior:
    """A model that has seen latents of `some_latents` once."""
    torch.manual_seed(0)
    model = HyperPrior(
        12,
        hyper_channels=8,
        features=20,
        context=lambda channels: HierarchicalContext(channels, features=6),
        groups=request.param,
    )
    model.train()(some_latents())
    return model.eval()


def some_latents() -> Tensor:
    return 6 * torch.randn(1, 12, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_a_refinement_starts_where_the_default_encoder_decides(model: HyperPrior, gain: float) -> None:
    gain /= 6  # few steps for each element
    y = some_latents()
    with torch.no_grad():
        z = model.hyper_latents(y)
        start = model.near_decisions(y, z, gain)
        decided = model.decode(model.encode(y, gain), (12, 32, 32))
        rounded = model.decode(model.encode_rounded(start, z, gain), (12, 32, 32))
        plain = model.decode(model.encode_rounded(y, z, gain), (12, 32, 32))
    assert ((rounded - decided).abs() < 0.1 / gain).float().mean() > 0.99
    assert ((plain - decided).abs() < 0.1 / gain).float().mean() < 0.99
    assert (start - y).abs().max() < 0.6 / gain


def test_refined_latents_are_decided_on_less(model: HyperPrior) -> None:
    y, gain = some_latents(), 0.1
    with torch.no_grad():
        z = model.hyper_latents(y)
        encoded = (model.encode(y, gain), model.encode_refined(y, z, gain), model.encode_rounded(y, z, gain))
    decided, refined, rounded = (len(sections[0]) for sections in encoded)
    assert decided < refined < rounded


@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_the_relaxed_rate_is_that_of_real_bytes(model: HyperPrior, gain: float) -> None:
    y = some_latents()
    assert isinstance(model, RefinableEntropyModel)
    with torch.no_grad():
        z = model.hyper_latents(y)
        y_hat, bits = model.relaxed(y, z, gain, torch.round)
        data = model.encode_rounded(y, z, gain)
        decoded = model.decode(data, (12, 32, 32))
    assert bits.item() == pytest.approx(8 * len(data[0]), rel=0.02)
    assert (y_hat - decoded).abs().median() < 0.05
    assert (decoded - y).abs().max() <= 0.51 / gain
