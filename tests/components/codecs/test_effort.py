"""Efforts of encoders, with the weights of the reference run's winner and on photographs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.checkpoint import load
from components.codecs.coder import LearnedCoder
from components.codecs.effort import DEFAULT_EFFORT, STEPS
from components.codecs.families import transform
from components.codecs.tensors import to_tensor
from components.errors import RatewrightError
from pipeline.paths import CHECKOUT, Layout

pytestmark = pytest.mark.usefixtures("one_thread")

GAIN = 0.7


@pytest.fixture(scope="module")
def winner() -> Codec:
    codec, _ = load(Layout(CHECKOUT).archived_checkpoint("real"))
    return codec


@pytest.fixture(scope="module")
def part() -> Rgb:
    """A photograph of 310 x 300 pixels; no side is a multiple of the stride."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[20:330, 130:430])


def loss_at(codec: Codec, rgb: Rgb, effort: int) -> float:
    """R + lambda * gain^3 * 255^2 * MSE of the real bitstream."""
    assert codec.trained_lmbda is not None
    coder = LearnedCoder(codec, GAIN, effort=effort)
    data = coder.encode(rgb)
    error = np.square(coder.decode(data).astype(float) - rgb).mean()
    return float(8 * len(data) / rgb[..., 0].size + codec.trained_lmbda * GAIN**3 * error)


def test_more_effort_lowers_the_loss(winner: Codec, part: Rgb) -> None:
    rounded, decided, refined, longer = (loss_at(winner, part, effort) for effort in (0, DEFAULT_EFFORT, 2, 4))
    assert longer < refined < decided < rounded
    assert longer < 0.985 * decided


def test_a_refinement_that_fails_gives_the_default(winner: Codec, part: Rgb, monkeypatch: pytest.MonkeyPatch) -> None:
    def worse(y: Tensor, z: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        return y + 1, z

    monkeypatch.setattr(transform, "refine", worse)
    assert LearnedCoder(winner, GAIN, effort=2).encode(part) == LearnedCoder(winner, GAIN).encode(part)


def test_refined_bitstreams_are_equal_each_time(winner: Codec, part: Rgb) -> None:
    coder = LearnedCoder(winner, GAIN, effort=3)
    before = torch.random.get_rng_state()
    data = coder.encode(part)
    torch.manual_seed(1)
    assert coder.encode(part) == data
    torch.random.set_rng_state(before)
    assert coder.encode(part) == data
    assert data != LearnedCoder(winner, GAIN).encode(part)


def test_the_default_effort_is_that_of_compress(winner: Codec, part: Rgb) -> None:
    x = to_tensor(part)
    assert winner.compress_at_effort(x, DEFAULT_EFFORT) == winner.compress(x)[0]
    assert winner.compress_at_effort(x, 0) != winner.compress(x)[0]


def test_refinement_in_tiles(winner: Codec, part: Rgb, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(LearnedCoder(winner, GAIN, effort=3).encode(part))
    monkeypatch.setattr(type(winner), "tile", 192)
    monkeypatch.setattr(type(winner), "halo", 64)
    seen: list[tuple[int, int]] = []
    coder = LearnedCoder(winner, GAIN, effort=3, on_progress=lambda done, total: seen.append((done, total)))
    data = coder.encode(part)
    assert seen == [(done, 4 * STEPS[3]) for done in range(1, 4 * STEPS[3] + 1)]
    assert len(data) == pytest.approx(whole, rel=0.03)
    assert coder.decode(data).shape == part.shape


@pytest.mark.parametrize("name", ["haar_hyper", "gmm", "minnen", "pmsc_hyper", "atc"])
@pytest.mark.parametrize("effort", [0, 2])
def test_every_codec_with_a_hyperprior_has_efforts(
    name: str, effort: int, make_codec: Callable[..., Codec], part: Rgb
) -> None:
    codec = make_codec(name).eval()
    codec.trained_lmbda = 0.01
    coder = LearnedCoder(codec, effort=effort)
    assert coder.decode(coder.encode(part)).shape == part.shape


def test_weights_get_no_gradient(winner: Codec, part: Rgb) -> None:
    LearnedCoder(winner, GAIN, effort=2).encode(part)
    assert all(parameter.grad is None for parameter in winner.parameters())


def test_one_pixel(winner: Codec) -> None:
    coder = LearnedCoder(winner, GAIN, effort=2)
    rgb = np.full((1, 1, 3), 90, np.uint8)
    assert coder.decode(coder.encode(rgb)).shape == (1, 1, 3)


def test_what_has_no_effort_says_so(winner: Codec, make_codec: Callable[..., Codec], part: Rgb) -> None:
    x = to_tensor(part)
    with pytest.raises(RatewrightError, match="codec 'wcae' has no efforts"):
        make_codec("wcae").eval().compress_at_effort(x, 4)
    with pytest.raises(RatewrightError, match="effort 10: efforts are 0 to 9"):
        winner.compress_at_effort(x, 10)
    with pytest.raises(RatewrightError, match="has no lambda"):
        make_codec("haar_hyper").eval().compress_at_effort(x, 2)
