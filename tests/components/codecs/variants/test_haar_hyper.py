import pytest
import pywt
import torch

from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.codecs.variants.haar_hyper import cosine_basis
from components.evaluation.complexity import kmac_per_px
from components.layers.haar import block_dwt, block_idwt

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_front_end_is_three_orthonormal_haar_levels() -> None:
    x = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    bands = block_dwt(x)
    assert bands.shape == (2, 192, 2, 3)
    torch.testing.assert_close(block_idwt(bands), x)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())
    low = torch.from_numpy(pywt.wavedec2(x.numpy(), "haar", level=3)[0])
    torch.testing.assert_close(bands[:, :3], low)


def test_the_cosine_functions_are_orthonormal() -> None:
    basis = cosine_basis(96).flatten(1)
    torch.testing.assert_close(basis @ basis.t(), torch.eye(96), rtol=0, atol=1e-5)
    constant = basis[0].view(3, 256)
    assert constant.std() < 1e-6


def test_it_starts_as_a_working_transform_codec() -> None:
    """Before the first step: the picture, but for the high frequencies that it has no latents for."""
    from skimage import data

    codec = build("haar_hyper", {}).eval()
    x = to_tensor(data.chelsea())
    (stream,) = codec.compress(x)
    error = (codec.decompress([stream]) - x).square().mean()
    assert -10 * error.log10() > 30


@pytest.mark.parametrize("hyperparameters", [{}, {"M": 192, "context": "hierarchical"}])
def test_the_decoder_stays_below_ten_kmac(hyperparameters: dict[str, object]) -> None:
    encoder, decoder = kmac_per_px(build("haar_hyper", hyperparameters).eval())
    assert 1 < decoder <= 10
    assert encoder <= 15
