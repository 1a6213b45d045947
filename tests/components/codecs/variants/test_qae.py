import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.entropy.bit_depths import MIDDLE
from components.errors import CalibrationError, RatewrightError
from components.layers.resnet import ResNet
from components.layers.vgg import Vgg19
from components.rate.gain_search import gain_for_target
from components.rate.real_rate import rate_and_psnr
from components.rate.trial import Trial
from components.training.pretrained import copy_weights, fetch_weights, read_weights

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"width": 6, "bits": [2, 8], "depths": [1, 1, 1, 1], "channels": 4}
Make = Callable[..., Codec]


@pytest.fixture
def x(photograph: Rgb) -> Tensor:
    return to_tensor(photograph)[..., :128, :128]


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision publishes them, of weights nobody trained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save({**Vgg19(37).state_dict(), "classifier.0.bias": torch.zeros(3)}, path)
    return path


def published(name: str, path: Path, folder: Path) -> partial[None]:
    found = fetch_weights(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), folder)
    return partial(copy_weights, weights=read_weights(found), source=name)


def test_widths_and_depths_of_one_checkpoint(x: Tensor) -> None:
    """Each rung has more bytes than the one before at its depth, and the stream says which it is."""
    codec = build("qae", SMALL).eval()
    latents = codec.latents(x)
    for operating_points in codec.operating_points:
        streams = [codec.pack(latents, x.shape[-2:], gain) for gain in operating_points]
        sizes = [len(stream) for stream in streams]
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0]
        for width, stream in enumerate(streams, 1):
            assert int((codec.unpack(stream) != MIDDLE).any(dim=(0, 2, 3)).sum()) == width
    assert codec.describe(codec.gain.item()) == "8-bit code, 6 channels", "the finest at first"


def test_the_gain_is_the_operating_point_below_the_target_with_the_best_picture(photographs: list[Rgb]) -> None:
    codec = build("qae", SMALL).eval()
    rates = {
        gain: rate_and_psnr(LearnedCoder(codec, gain), photographs[:2])
        for operating_points in codec.operating_points
        for gain in operating_points
    }
    target = (rates[3][0] + rates[4][0]) / 2
    told: list[Trial] = []
    found = gain_for_target(codec, photographs[:2], target, 0.01, told.append)
    below = [
        max((g for g in operating_points if rates[g][0] <= target), default=None)
        for operating_points in codec.operating_points
    ]
    assert found == max((g for g in below if g is not None), key=lambda g: rates[g][1] or 0)
    assert all(trial.bpp == rates[int(trial.value)][0] for trial in told)
    assert gain_for_target(codec, photographs[:2], 100.0, 0.01) in (5, 11), "more than there is: the widest"
    with pytest.raises(CalibrationError, match=r"no rate below 0.001 bpp: the lowest is 0\.\d+ bpp"):
        gain_for_target(codec, photographs[:2], 0.001, 0.01)


def test_pooling_leaves_one_vector_for_each_square(x: Tensor) -> None:
    codec = build("qae", {**SMALL, "pool": 2}).eval()
    assert codec.stride == 64
    assert codec.latents(x).shape == (1, 6, 2, 2)
    picture = x[..., :100, :90]
    assert codec.decompress(codec.compress(picture)).shape == picture.shape


def test_without_weights_it_says_that_it_starts_from_scratch() -> None:
    assert build("qae", SMALL).load_pretrained({}) == [
        "no weights of resnet101 are named: the encoder starts from scratch"
    ]


def test_published_weights_become_the_encoders(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor = ResNet((1, 1, 1, 1), 4)
    torch.save(
        {**donor.state_dict(), "fc.weight": torch.zeros(10, 128), "fc.bias": torch.zeros(10)}, tmp_path / "r.pth"
    )
    codec = build("qae", SMALL)
    assert codec.load_pretrained({"resnet101": published("resnet101", tmp_path / "r.pth", tmp_path)}) == []
    state = codec.state_dict()
    assert all(torch.equal(state[f"resnet.{key}"], value) for key, value in donor.state_dict().items())
    wrong = build("qae", {**SMALL, "channels": 8})
    with pytest.raises(RatewrightError, match=r"resnet101: .* tensors do not fit"):
        wrong.load_pretrained({"resnet101": published("resnet101", tmp_path / "r.pth", tmp_path)})


def test_a_perceptual_loss_without_weights_names_the_file(x: Tensor) -> None:
    codec = build("qae", {**SMALL, "mu": 0.1})
    with pytest.raises(RatewrightError, match=r"mu = 0.1 needs train.weights.vgg19.*vgg19-dcbb9e9d\.pth"):
        codec.load_pretrained({})
    with pytest.raises(RatewrightError, match=r"needs train\.weights\.vgg19"):
        codec.loss(x, codec.train()(x), 1.0)


def test_the_perceptual_loss_is_added_mu_times(x: Tensor, vgg_file: Path, tmp_path: Path) -> None:
    vgg = Vgg19()
    copy_weights(vgg, read_weights(vgg_file), "vgg19")
    totals = {}
    for mu in (0.0, 0.1, 1.0):
        torch.manual_seed(0)
        codec = build("qae", {**SMALL, "mu": mu}).eval()
        codec.load_pretrained({"vgg19": published("vgg19", vgg_file, tmp_path)})
        reconstruction = codec(x)
        totals[mu] = codec.loss(x, reconstruction, 1.0).total.item()
    mse = (x - reconstruction.x_hat).square().mean().item()
    perceptual = (vgg(x) - vgg(reconstruction.x_hat)).abs().mean().item()
    assert perceptual > 0
    assert totals == pytest.approx({mu: mse + mu * perceptual for mu in totals}, rel=1e-4)
    assert not any("vgg" in key for key in codec.state_dict()), "VGG-19 is no part of the checkpoint"


def test_vgg_is_not_trained(x: Tensor, vgg_file: Path, tmp_path: Path) -> None:
    codec = build("qae", {**SMALL, "mu": 1.0}).train()
    codec.load_pretrained({"vgg19": published("vgg19", vgg_file, tmp_path)})
    codec.loss(x, codec(x), 1.0).total.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in codec.parameters())


def test_weights_that_a_codec_has_no_use_for(make_codec: Make) -> None:
    with pytest.raises(RatewrightError, match="codec 'wcae' takes no weights of vgg19; it knows none"):
        make_codec("wcae").load_pretrained({"vgg19": lambda _: None})
    with pytest.raises(RatewrightError, match="takes no weights of resnet50; it knows resnet101, vgg19"):
        build("qae", SMALL).load_pretrained({"resnet50": lambda _: None})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mu": -1.0}, "mu must be at least 0"),
        ({"pool": 3}, "pool 1, 2, 4 or 8"),
        ({"bits": [8, 2]}, "bit depths must rise"),
        ({"depths": [1, 1]}, "does not take the hyper-parameters"),
        ({"width": 5000}, "1 to 4096 channels"),
        ({"width": -1}, "does not take the hyper-parameters"),
        ({"widht": 1}, "does not take the hyper-parameters"),
    ],
)
def test_wrong_hyperparameters_are_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(RatewrightError, match=said) as raised:
        build("qae", {**SMALL, **wrong})
    assert "\n" not in str(raised.value)
