import pytest
import torch
from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.perceptual_loss import ssim_loss
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.errors import RatewrightError
from components.layers.vgg import Vgg19

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"N": 24, "M": 16}


@pytest.fixture
def x(photograph: Rgb) -> Tensor:
    return to_tensor(photograph)[..., :128, :128]


def perceptual_term(codec: Codec, x: Tensor) -> float:
    """The perceptual term of the distortion, in units of the MSE."""
    reconstruction = codec(x)
    mse = (x - reconstruction.x_hat).square().mean()
    return float(codec.distortion_and_rate(x, reconstruction)[0] / 255**2 - mse)


def test_the_loss_is_ssim_until_vgg_has_weights(x: Tensor) -> None:
    torch.manual_seed(0)
    codec, donor = build("cnn_ae", {**SMALL, "mu": 0.5}).eval(), Vgg19()
    with torch.inference_mode():
        x_hat = codec(x).x_hat
        before = perceptual_term(codec, x)
        assert before == pytest.approx(0.5 * ssim_loss(x, x_hat).item(), rel=1e-4)
        keys = set(codec.state_dict())
        codec.load_pretrained({"vgg19": lambda vgg: vgg.load_state_dict(donor.state_dict()) and None})
        expected = (donor(x) - donor(x_hat)).abs().mean().item()
        assert perceptual_term(codec, x) == pytest.approx(0.5 * expected, rel=1e-3)
    assert set(codec.state_dict()) == keys, "VGG-19 is no part of the checkpoint"


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
