import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.arrays import Rgb
from components.codecs.perceptual_loss import ssim_loss
from components.codecs.tensors import to_tensor
from components.metrics.structural_similarity import ssim_and_ms_ssim

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def x(photograph: Rgb) -> Tensor:
    return to_tensor(photograph)[..., :128, :128]


def test_ssim_loss_is_nearly_one_minus_ssim(photograph: Rgb, x: Tensor) -> None:
    assert ssim_loss(x, x).abs().max() < 1e-5
    pairs = [(photograph, np.clip(photograph + shift, 0, 255).astype(np.uint8)) for shift in noise(photograph)]
    for a, b in pairs:
        ssim, _ = ssim_and_ms_ssim(a, b)
        assert ssim is not None
        assert ssim_loss(to_tensor(a), to_tensor(b)).item() == pytest.approx(1 - ssim, rel=0.2)


def noise(like: Rgb) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(0)
    return [random.normal(0, sigma, like.shape) for sigma in (3.0, 10.0, 30.0)]


def test_each_picture_has_its_own_loss(x: Tensor) -> None:
    other = x.flip(3)
    together = ssim_loss(torch.cat((x, x)), torch.cat((other, x)))
    torch.testing.assert_close(together, torch.cat((ssim_loss(x, other), ssim_loss(x, x))))
