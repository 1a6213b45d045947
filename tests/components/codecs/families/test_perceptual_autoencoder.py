import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.perceptual_loss import ssim_loss
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.errors import RatewrightError
from components.layers.vgg import Vgg19
from components.metrics.structural_similarity import ssim_and_ms_ssim

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"N": 24, "M": 16}


@pytest.fixture
def x(photograph: Rgb) -> Tensor:
    return to_tensor(photograph)[..., :128, :128]


def trained_for(codec: Codec, x: Tensor) -> float:
    """What the perceptual loss adds to the distortion, in units of the MSE."""
    reconstruction = codec(x)
    mse = (x - reconstruction.x_hat).square().mean()
    return float(codec.distortion_and_rate(x, reconstruction)[0] / 255**2 - mse)


def test_dissimilarity_is_one_minus_ssim_or_nearly(photograph: Rgb, x: Tensor) -> None:
    assert ssim_loss(x, x).abs().max() < 1e-5
    pairs = [(photograph, np.clip(photograph + shift, 0, 255).astype(np.uint8)) for shift in noise(photograph)]
    for a, b in pairs:
        ssim, _ = ssim_and_ms_ssim(a, b)
        assert ssim is not None
        assert ssim_loss(to_tensor(a), to_tensor(b)).item() == pytest.approx(1 - ssim, rel=0.2)


def noise(like: Rgb) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(0)
    return [random.normal(0, sigma, like.shape) for sigma in (3.0, 10.0, 30.0)]


def test_each_picture_has_its_own_dissimilarity(x: Tensor) -> None:
    other = x.flip(3)
    together = ssim_loss(torch.cat((x, x)), torch.cat((other, x)))
    torch.testing.assert_close(together, torch.cat((ssim_loss(x, other), ssim_loss(x, x))))


def test_ssim_judges_until_vgg_has_weights(x: Tensor) -> None:
    torch.manual_seed(0)
    codec, donor = build("cnn_ae", {**SMALL, "mu": 0.5}).eval(), Vgg19()
    with torch.inference_mode():
        x_hat = codec(x).x_hat
        before = trained_for(codec, x)
        assert before == pytest.approx(0.5 * ssim_loss(x, x_hat).item(), rel=1e-4)
        keys = set(codec.state_dict())
        codec.load_pretrained({"vgg19": lambda vgg: vgg.load_state_dict(donor.state_dict()) and None})
        expected = (donor(x) - donor(x_hat)).abs().mean().item()
        assert trained_for(codec, x) == pytest.approx(0.5 * expected, rel=1e-3)
    assert set(codec.state_dict()) == keys, "the judge is no part of the checkpoint"


@pytest.mark.parametrize("name", ["cnn_ae", "cnn_ae_ft"])
def test_a_negative_weight_is_refused(name: str) -> None:
    with pytest.raises(RatewrightError, match=f"{name}: mu must be at least 0, not -1"):
        build(name, {**SMALL, "mu": -1})


def test_it_starts_as_a_transform_and_its_inverse(x: Tensor) -> None:
    """Untrained, it gives the picture back but for what the packet leaves out."""
    torch.manual_seed(0)
    codec = build("cnn_ae", {"N": 64, "M": 96}).eval()
    with torch.inference_mode():
        codec.gain.fill_(16.0)
        error = (codec(x).x_hat - x).square().mean()
    assert error < 0.05 * x.var()
