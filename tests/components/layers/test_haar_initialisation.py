import math

import pytest
import torch
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.layers.haar_initialisation import haar_packet, initialise_downsampling, initialise_upsampling

pytestmark = pytest.mark.usefixtures("one_thread")


def test_rows_of_a_stage_are_orthonormal_or_zero() -> None:
    for stage, rows in zip(haar_packet((12, 48, 20, 100)), (12, 48, 20, 80), strict=True):
        gram = stage @ stage.t()
        torch.testing.assert_close(gram, torch.diag((torch.arange(len(stage)) < rows).float()), rtol=0, atol=1e-6)


def test_the_first_bands_have_the_lowest_frequencies() -> None:
    """Four stages of 16x16 pixels: the first function is constant luma, and functions change sign ever more often."""
    functions = torch.eye(30)[:, :, None, None]
    for stage in reversed(haar_packet((12, 48, 60, 30))):
        functions = pixel_shuffle(torch.einsum("bohw,oi->bihw", functions, stage), 2)
    assert functions.shape == (30, 3, 16, 16)
    torch.testing.assert_close(functions[0], torch.full((3, 16, 16), 1 / math.sqrt(3 * 256)), rtol=0, atol=1e-6)
    torch.testing.assert_close(functions.flatten(1) @ functions.flatten(1).t(), torch.eye(30), rtol=0, atol=1e-5)
    green = functions[:, 1]
    changes = (green.diff(dim=1).abs() > 1e-4).sum(dim=(1, 2)) + (green.diff(dim=2).abs() > 1e-4).sum(dim=(1, 2))
    assert changes[:6].max() < changes[-6:].max()


@pytest.mark.parametrize("kernel", [3, 5])
def test_doubling_undoes_halving(kernel: int) -> None:
    torch.manual_seed(0)
    (stage,) = haar_packet((12,))
    x = torch.rand(1, 3, 16, 24)
    down = nn.Conv2d(3, 12, kernel, 2, padding=kernel // 2)
    initialise_downsampling(down, stage)
    blocks = nn.Conv2d(12, 12, 1)
    initialise_downsampling(blocks, stage)
    torch.testing.assert_close(blocks(pixel_unshuffle(x, 2)), down(x), rtol=0, atol=0.1)
    sub = nn.Conv2d(12, 12, kernel, padding=kernel // 2)
    initialise_upsampling(sub, stage)
    torch.testing.assert_close(pixel_shuffle(sub(down(x)), 2), x, rtol=0, atol=0.1)
    up = nn.ConvTranspose2d(12, 3, 5, 2, padding=2, output_padding=1)
    initialise_upsampling(up, stage)
    torch.testing.assert_close(up(down(x)), x, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [("factorized", {"N": 48, "M": 64}), ("gmm", {"N": 48}), ("atc", {"N": 48})],
)
def test_codecs_start_with_a_picture(name: str, hyperparameters: dict[str, int]) -> None:
    """Before the first step they are Haar transform codecs."""
    from skimage import data

    torch.manual_seed(0)
    codec = build(name, hyperparameters).eval()
    x = codec.pad(to_tensor(data.chelsea()))
    with torch.inference_mode():
        error = (codec(x).x_hat - x).square().mean()
    assert -10 * error.log10() > 27
