import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from components.entropy.context import CheckerboardContext, ContextModel, HierarchicalContext
from components.entropy.hyperprior import HyperPrior

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = 12


def latents(seed: int = 0) -> Tensor:
    """(4, CHANNELS, 16, 16): channels with scales from 0.5 to 40 and means from -5 to 5."""
    y = torch.randn(4, CHANNELS, 16, 16, generator=torch.Generator().manual_seed(seed))
    scales, means = torch.logspace(math.log10(0.5), math.log10(40), CHANNELS), torch.linspace(-5, 5, CHANNELS)
    return y * scales[:, None, None] + means[:, None, None]


CONTEXTS: dict[str, Callable[[int], ContextModel] | None] = {
    "none": None,
    "checkerboard": partial(CheckerboardContext, features=24, kernel=5),
    "hierarchical": partial(HierarchicalContext, features=24),
}


def prior(components: int = 1, context: str = "checkerboard", groups: tuple[int, ...] = ()) -> HyperPrior:
    torch.manual_seed(0)
    made = HyperPrior(
        CHANNELS, hyper_channels=8, features=24, components=components, context=CONTEXTS[context], groups=groups
    )
    if isinstance(made.context, HierarchicalContext):
        for layer in made.context.predictions:
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=0.1)  # zero at first
    return made


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("context", ["none", "checkerboard"])
def test_an_untrained_prior_codes_latents_by_the_running_statistics(components: int, context: str) -> None:
    """Within a few percent of the entropy of a Gaussian for each channel, once it has seen a batch."""
    entropy = prior(components, context)
    entropy.train()(latents(0))
    with torch.inference_mode():
        bits = entropy.eval()(latents(1)).bits.mean().item() / 16**2
    scales = torch.logspace(math.log10(0.5), math.log10(40), CHANNELS)
    ideal = (scales * math.sqrt(2 * math.pi * math.e)).log2().sum().item()
    assert ideal == pytest.approx(bits, rel=0.06)


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("context", CONTEXTS)
def test_an_encoder_sends_what_is_worth_its_bits(components: int, context: str) -> None:
    """Fewer bytes than rounding, for errors that are worth less; an estimate is of the same latents."""
    entropy = prior(components, context)
    entropy.train()(0.1 * latents(0))
    entropy.eval()
    y = 0.1 * latents(1)[:1]

    def coded(sections: tuple[bytes, ...]) -> tuple[int, Tensor]:
        return 8 * len(sections[0]), entropy.decode(sections, (CHANNELS, 16, 16))

    with torch.inference_mode():
        bits, y_hat = coded(entropy.encode(y, 1.0))
        bits_of_rounded, rounded = coded(entropy.encode_rounded(y, entropy.hyper_latents(y), 1.0))
        assert torch.equal(entropy(y).y_hat, y_hat)
    errors, errors_of_rounded = (float((y - each).square().sum()) for each in (y_hat, rounded))
    assert bits < 0.99 * bits_of_rounded
    assert errors > errors_of_rounded, "rounding is the nearest"
    if context == "none":  # where it is, what is sent changes what the rest costs
        assert errors + 0.05 * bits < errors_of_rounded + 0.05 * bits_of_rounded


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("gain", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("groups", [(), (3, 4, 5)])
def test_real_bytes_against_the_ideal_code_length(
    components: int, gain: float, context: str, groups: tuple[int, ...]
) -> None:
    """At most 0.5 % and a few bytes above the bits of the densities that the tables stand for, at any gain."""
    entropy = prior(components, context, groups)
    entropy.train()(latents(0))
    y = latents(1)[:1].repeat(1, 1, 3, 3)
    with torch.inference_mode():
        (section,) = entropy.eval().encode(y, gain)
        estimated = entropy(y, gain).bits.item()
        entropy.fix_encoder()
        entropy.gain_range = (math.log(gain), math.log(gain))
        entropy.training = True  # of its own, so that no statistics move
        ideal = entropy(y).bits.item()
    assert estimated == pytest.approx(8 * len(section), abs=64, rel=0.002)
    assert 0.995 * ideal < 8 * len(section) < 1.005 * ideal + 64


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("context", CONTEXTS)
def test_with_a_fixed_encoder_training_sees_what_it_sends(components: int, context: str) -> None:
    """About the latents and the bits of an evaluation, gradients to the decoder's part alone, no new statistics."""
    entropy = prior(components, context)
    entropy.train()(0.1 * latents(0))
    entropy.fix_encoder()
    statistics = entropy.side.typical.state_dict()
    before = {key: value.clone() for key, value in statistics.items()}
    seen = entropy(0.1 * latents(1))
    with torch.inference_mode():
        sent = entropy.eval()(0.1 * latents(1))
    assert ((seen.y_hat - sent.y_hat).abs() < 0.1).float().mean() > 0.98, "few decisions are close calls"
    torch.testing.assert_close(seen.bits, sent.bits, rtol=0.01, atol=0)
    assert all(torch.equal(before[key], value) for key, value in statistics.items())
    (seen.bits.sum() + seen.y_hat.square().sum()).backward()
    assert all(parameter.grad is None for parameter in entropy.side.h_a.parameters())
    for part in (entropy.side.h_s, entropy.parameters_net, entropy.side.prior):
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())


def test_gains_are_drawn_from_a_range() -> None:
    entropy = prior()
    for reach, (low, high) in ((0.5, (-0.5, 0.5)), ((-0.8, 0.1), (-0.8, 0.1)), (0.0, (0.0, 0.0))):
        entropy.gain_range = reach
        drawn = torch.cat([entropy.train()(latents()).log_gain for _ in range(50)])
        assert low <= drawn.min() <= low + 0.05
        assert high - 0.05 <= drawn.max() <= high


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("context", CONTEXTS)
def test_groups_decode_to_what_was_sent(components: int, context: str) -> None:
    """A decoder knows of the groups before what the encoder knew, at any step of the quantiser."""
    entropy = prior(components, context, (2, 9, 1))
    entropy.train()(latents(0))
    entropy.eval()
    y = latents(1)[:1]
    with torch.inference_mode():
        for gain in (0.3, 1.0, 1.7):
            y_hat = entropy.decode(entropy.encode(y, gain), (CHANNELS, 16, 16))
            assert (y - y_hat).abs().max() < 1 / gain  # half a step, or the next integer where it costs less


def test_a_group_learns_from_the_one_before_it() -> None:
    """Two halves of the channels are equal: with groups the second costs little after some training."""
    y = latents(0)
    y[:, CHANNELS // 2 :] = y[:, : CHANNELS // 2]
    bits = {}
    for groups in ((), (CHANNELS // 2, CHANNELS // 2)):
        entropy = prior(context="none", groups=groups).train()
        optimizer = torch.optim.Adam(entropy.parameters(), lr=1e-2)
        for _ in range(50):
            optimizer.zero_grad()
            loss = entropy(y).bits.mean()
            loss.backward()
            optimizer.step()
        bits[groups] = loss.item()
    assert bits[CHANNELS // 2, CHANNELS // 2] < 0.9 * bits[()]


def test_groups_are_all_the_channels() -> None:
    with pytest.raises(ValueError, match=r"groups of 3 \+ 4 channels are not the 12 of the latents"):
        prior(groups=(3, 4))
