import numpy as np
import pytest
import pywt
import torch
from torch.nn.functional import pixel_unshuffle

from components.layers.haar import block_dwt, block_idwt, dwt, idwt

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES = pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 3, 8, 12), (1, 4, 2, 30)])


def tensor(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@SHAPES
def test_bands_are_those_of_pywavelets(shape: tuple[int, ...]) -> None:
    x = tensor(shape)
    low, details = dwt(x)
    approximation, bands = pywt.dwt2(x.numpy(), "haar", axes=(2, 3))
    np.testing.assert_allclose(low.numpy(), approximation, atol=1e-12)
    np.testing.assert_allclose(details.numpy(), np.concatenate(bands, axis=1), atol=1e-12)


@SHAPES
def test_reconstruction_is_perfect(shape: tuple[int, ...]) -> None:
    x = tensor(shape)
    torch.testing.assert_close(idwt(*dwt(x)), x, rtol=0, atol=1e-12)


def test_pywavelets_bands_are_taken_back() -> None:
    x = tensor((1, 2, 6, 4))
    approximation, bands = pywt.dwt2(x.numpy(), "haar", axes=(2, 3))
    details = torch.from_numpy(np.concatenate(bands, axis=1))
    torch.testing.assert_close(idwt(torch.from_numpy(approximation), details), x, rtol=0, atol=1e-12)


@SHAPES
def test_energy_is_kept(shape: tuple[int, ...]) -> None:
    x = tensor(shape)
    low, details = dwt(x)
    kept = low.square().sum() + details.square().sum()
    torch.testing.assert_close(kept, x.square().sum(), rtol=1e-12, atol=0)


def test_inner_products_are_kept() -> None:
    """Orthonormal, not only of equal energy by chance."""
    transform = torch.stack([torch.cat(dwt(e.view(1, 1, 4, 4)), 1).flatten() for e in torch.eye(16)])
    torch.testing.assert_close(transform @ transform.t(), torch.eye(16), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("axis", "band"), [(2, 0), (3, 1)])
def test_an_edge_lands_in_its_band(axis: int, band: int) -> None:
    x = torch.zeros(1, 1, 4, 4)
    x.select(axis, 0).fill_(1.0)  # changes along `axis` only
    details = dwt(x)[1][0]
    assert [bool(b.abs().max() > 0) for b in details] == [k == band for k in range(3)]


def test_blocks_are_three_levels_of_the_transform() -> None:
    x = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, fine = dwt(x)
    low, middle = dwt(low)
    low, coarse = dwt(low)
    levels = torch.cat((low, coarse, pixel_unshuffle(middle, 2), pixel_unshuffle(fine, 4)), dim=1)
    torch.testing.assert_close(block_dwt(x), levels)
    torch.testing.assert_close(block_idwt(levels), x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(block_idwt(block_dwt(x.float())), x.float(), rtol=0, atol=1e-6)
