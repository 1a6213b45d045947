import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from components.coding.fixed_point import UNIT
from components.coding.trit_planes import Refinement
from components.coding.trit_tables import Gaussians, TritTables, units_of
from components.entropy.progressive.trit_plane_model import TritPlaneModel
from components.entropy.progressive.trit_tables import scale_of

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = 12


def latents(seed: int = 0, batch: int = 4) -> Tensor:
    """(batch, CHANNELS, 16, 16): channels with scales from 0.3 to 40 and means from -5 to 5."""
    y = torch.randn(batch, CHANNELS, 16, 16, generator=torch.Generator().manual_seed(seed))
    scales, means = torch.logspace(math.log10(0.3), math.log10(40), CHANNELS), torch.linspace(-5, 5, CHANNELS)
    return y * scales[:, None, None] + means[:, None, None]


def model(*, refined: bool = True, seed: int = 0) -> TritPlaneModel:
    """One whose prior knows its latents, and whose refinements do something."""
    torch.manual_seed(seed)
    made = TritPlaneModel(
        CHANNELS,
        hyper_channels=8,
        features=16,
        gain_range=1.5,
        rate_reduction=refined,
        distortion_reduction=refined,
    )
    made.train()(latents(1))
    for net in (made.sharper, made.closer):
        if net is not None:
            torch.nn.init.normal_(net.weigh[-1].weight, std=0.05)  # type: ignore[arg-type]
    return made.eval()


def decoded(entropy: TritPlaneModel, section: bytes) -> Tensor:
    with torch.inference_mode():
        return entropy.decode((section,), (CHANNELS, 16, 16))


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("gain", [0.3, 1.0, 2.7])
def test_decoded_latents_are_within_a_step(refined: bool, gain: float) -> None:
    entropy, y = model(refined=refined), latents(2, 1)
    with torch.inference_mode():
        (section,) = entropy.encode(y, gain)
    error = (decoded(entropy, section) - y).abs()
    assert error.mean() < 0.5 / gain
    assert (error[:, -3:] < 0.51 / gain + 0.05).float().mean() > 0.99, "wide channels are coded to the last trit"


@pytest.mark.parametrize("refined", [False, True])
def test_evaluation_is_what_is_coded(refined: bool) -> None:
    entropy, y = model(refined=refined), latents(3)
    with torch.inference_mode():
        estimate = entropy(y)
        sections = [entropy.encode(one, 1.0) for one in torch.split(y, 1)]
    for one, bits, (section,) in zip(estimate.y_hat, estimate.bits, sections, strict=True):
        assert torch.equal(decoded(entropy, section)[0], one)
        assert 8 * (len(section) - 2) == pytest.approx(bits.item(), rel=0.01, abs=40)


@pytest.mark.parametrize("refined", [False, True])
def test_every_first_bytes_decode_and_more_is_better(refined: bool) -> None:
    entropy, y = model(refined=refined), latents(4, 1)
    with torch.inference_mode():
        (section,) = entropy.encode(y, 1.0)
    errors = [float((decoded(entropy, section[:n]) - y).square().mean()) for n in range(0, len(section) + 1, 67)]
    errors.append(float((decoded(entropy, section) - y).square().mean()))
    worse = sum(after > 1.002 * before for before, after in pairwise(errors))
    assert worse <= (0.2 if refined else 0.02) * len(errors), "refinements are random here"
    assert errors[0] > 20 * errors[-1]


def test_planes_of_a_finer_gain_continue_the_stream() -> None:
    """Three times the gain adds planes: those of the coarser stream come first, in about as many bytes."""
    entropy, y = model(), latents(5, 1)
    with torch.inference_mode():
        (coarse,), (fine,) = entropy.encode(y, 0.5), entropy.encode(y, 1.5)
    cut = decoded(entropy, fine[: len(coarse)])
    whole = decoded(entropy, coarse)
    assert (cut - y).square().mean() == pytest.approx(float((whole - y).square().mean()), rel=0.2)


def test_ranks_order_the_trits_better_than_their_places() -> None:
    """Half of the bytes of a stream take away far more than half of the logarithm of the error."""
    entropy, y = model(refined=False), latents(6, 1)
    with torch.inference_mode():
        (section,) = entropy.encode(y, 1.0)
    nothing, half, whole = (
        math.log(float((decoded(entropy, section[:n]) - y).square().mean()))
        for n in (2, len(section) // 2, len(section))
    )
    assert (nothing - half) / (nothing - whole) > 0.55


def test_values_far_outside_of_their_gaussians_come_first() -> None:
    entropy, y = model(), latents(7, 1)
    y[0, 0, 3, 4], y[0, 5, 9, 1] = 900.0, -700.0
    with torch.inference_mode():
        (section,) = entropy.encode(y, 1.0)
    y_hat = decoded(entropy, section)
    assert y_hat[0, 0, 3, 4] == pytest.approx(900, abs=0.6)
    assert y_hat[0, 5, 9, 1] == pytest.approx(-700, abs=0.6)
    assert decoded(entropy, section[: len(section) // 4])[0, 0, 3, 4] == y_hat[0, 0, 3, 4]


def test_refinements_move_as_far_in_integers_as_in_floats() -> None:
    entropy = model()
    assert entropy.sharper is not None
    tables, net = TritTables(entropy.tables.integers()), Refinement(*entropy.sharper.coding_parts("net"))
    random = np.random.default_rng(0)
    psi, features, log_scale = (
        np.round(random.normal(size=(channels, 8, 8)) * UNIT) for channels in (16, 3 * CHANNELS, CHANNELS)
    )
    units = units_of(log_scale.clip(-UNIT), np.zeros(1))
    prior = Gaussians(np.zeros_like(units), units)
    with torch.inference_mode():
        in_floats = torch.from_numpy(psi / UNIT).float()[None]
        mean, scale = (part[0] for part in entropy._refined(entropy.sharper, in_floats, prior, features[None]))
    refined = tables.moved(prior, *np.split(net(psi, features), 2))
    assert mean.abs().max() > 0.5
    # Integers take the prior's scale from the nearest of the tables, 14.7 % apart.
    np.testing.assert_allclose(refined.mean / UNIT, mean, rtol=0.09, atol=0.05)
    np.testing.assert_allclose(scale_of(torch.from_numpy(refined.units)), scale, rtol=0.05, atol=0.01)


def test_training_reaches_every_part() -> None:
    torch.manual_seed(0)
    entropy = TritPlaneModel(CHANNELS, hyper_channels=8, features=16, gain_range=1.5).train()
    y = latents(8).requires_grad_()
    for _ in range(
        2
    ):  # the last layers of the refinements start at zero: what is before them learns from the second on
        estimate = entropy(y)
        (estimate.bits.sum() + (estimate.y_hat - latents(8)).square().sum()).backward()
        with torch.no_grad():
            for parameter in entropy.parameters():
                assert parameter.grad is not None
                parameter.sub_(1e-4 * parameter.grad)
    for name, parameter in entropy.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0 or name == "side.h_s.0.weight", "of hyper-latents that are zero"
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()


def test_probabilities_learn_from_neighbours() -> None:
    """Where scales vary from place to place, decoded trits save bits of those that follow."""
    channels, batch = 4, 2

    def varying(seed: int) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        loud = torch.rand(batch, 1, 4, 4, generator=random) < 0.5
        scales = torch.where(loud, 12.0, 0.8).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        return scales * torch.randn(batch, channels, 16, 16, generator=random)

    torch.manual_seed(0)
    entropy = TritPlaneModel(channels, hyper_channels=8, features=16, gain_range=0.5)
    for part in (entropy.side.h_a, entropy.side.h_s):
        part.requires_grad_(False)  # side information would carry the scales too
    optimizer = torch.optim.Adam([p for p in entropy.parameters() if p.requires_grad], 8e-3)
    for step in range(80):
        y = varying(step)
        estimate = entropy.train()(y)
        (estimate.bits.mean() / 1000 + (estimate.y_hat - y).square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.inference_mode():
        y = varying(1000)
        refined = entropy.eval()(y)
        entropy.sharper = None
        plain = entropy(y)
    assert refined.bits.sum() < 0.993 * plain.bits.sum()
    assert torch.equal(refined.y_hat, plain.y_hat), "probabilities do not change the trits"


def test_outliers_do_not_lead_training_astray() -> None:
    """Gradients of refinements that are sure of the wrong thing stay finite, and small."""
    torch.manual_seed(0)
    entropy = model().train()
    for net in (entropy.sharper, entropy.closer):
        assert net is not None
        torch.nn.init.constant_(net.weigh[-1].bias, -4.0)  # type: ignore[arg-type]
    y = latents(9)
    y[:, 0, ::3] = 3000.0
    estimate = entropy(y)
    (estimate.bits.sum() / y.numel() + (estimate.y_hat - y).square().mean()).backward()
    for name, parameter in entropy.named_parameters():
        if name.startswith(("sharper", "closer")):
            assert parameter.grad is not None
            assert parameter.grad.abs().max() < 1000, name
