from typing import Literal

import numpy as np
import pytest
import pywt
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.errors import RatewrightError
from components.layers import haar
from components.layers.wavelet import Wavelet

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Level value of 3 is too high:UserWarning"),
]
LEVELS, BORDER = 3, 32
NAMES = pytest.mark.parametrize("name", ["haar", "db2", "db4", "sym4", "coif1", "bior2.2", "bior4.4"])
Bands = tuple[Tensor, list[Tensor]]


def tensor(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def analysed(wavelet: Wavelet, x: Tensor) -> Bands:
    """The low band, and the details from the finest level on."""
    details = []
    for _ in range(LEVELS):
        x, detail = wavelet.dwt(x)
        details.append(detail)
    return x, details


def synthesised(wavelet: Wavelet, bands: Bands) -> Tensor:
    x, details = bands
    for detail in reversed(details):
        x = wavelet.idwt(x, detail)
    return x


def extended(name: str, x: Tensor) -> NDArray[np.float64]:
    """x with a wide border: mirrored for symmetric filters, periodic for others."""
    mode: Literal["reflect", "wrap"] = "reflect" if name.startswith("bior") else "wrap"
    array: NDArray[np.float64] = x.numpy()
    return np.pad(array, ((0, 0), (0, 0), (BORDER, BORDER), (BORDER, BORDER)), mode=mode)


def pywavelets_bands(name: str, x: Tensor) -> Bands:
    """The bands from PyWavelets, each level of an extended picture or low band, without those of the border."""
    border = BORDER // 2
    details = []
    for _ in range(LEVELS):
        low, high = pywt.wavedec2(extended(name, x), name, mode="periodization", level=1, axes=(2, 3))
        x, *inner = (torch.from_numpy(band[..., border:-border, border:-border].copy()) for band in (low, *high))
        details.append(torch.cat(inner, dim=1))
    return x, details


@NAMES
@pytest.mark.parametrize("shape", [(2, 3, 32, 64), (1, 1, 8, 96)])
def test_bands_are_those_of_pywavelets(name: str, shape: tuple[int, ...]) -> None:
    """A quarter of the samples for each band, equal to PyWavelets' of the picture with a wide border."""
    x = tensor(*shape)
    low, details = analysed(Wavelet(name), x)
    expected, expected_details = pywavelets_bands(name, x)
    for found, wanted in zip((low, *details), (expected, *expected_details), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    if not name.startswith("bior"):
        expected_low, *levels = pywt.wavedec2(x.numpy(), name, mode="periodization", level=LEVELS, axes=(2, 3))
        np.testing.assert_allclose(low.numpy(), expected_low, rtol=0, atol=1e-9)
        for detail, bands in zip(details, reversed(levels), strict=True):
            np.testing.assert_allclose(detail.numpy(), np.concatenate(bands, axis=1), rtol=0, atol=1e-9)


@NAMES
def test_synthesis_is_that_of_pywavelets(name: str) -> None:
    """PyWavelets makes the same picture of the same bands; of those of a periodic transform directly."""
    wavelet = Wavelet(name)
    bands = tensor(1, 2, 4, 6), [tensor(1, 6, 4 << k, 6 << k) for k in (2, 1, 0)]
    x = synthesised(wavelet, bands)
    low, details = pywavelets_bands(name, x)
    for found, wanted in zip((low, *details), (bands[0], *bands[1]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    if not name.startswith("bior"):
        levels = [tuple(band.numpy() for band in detail.chunk(3, dim=1)) for detail in reversed(bands[1])]
        expected = pywt.waverec2([bands[0].numpy(), *levels], name, mode="periodization", axes=(2, 3))
        np.testing.assert_allclose(x.numpy(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", sorted({*pywt.wavelist(kind="discrete")} - {"dmey"}))
def test_reconstruction_is_perfect(name: str) -> None:
    """Of each filter bank in PyWavelets, and of bands that are shorter than its filters."""
    wavelet = Wavelet(name)
    for shape in ((1, 3, 64, 32), (2, 1, 8, 16)):
        x = tensor(*shape)
        back = synthesised(wavelet, analysed(wavelet, x))
        torch.testing.assert_close(back, x, rtol=0, atol=1e-6)


def test_haar_keeps_its_arithmetic() -> None:
    x = tensor(1, 3, 16, 16).float()
    for name in ("haar", "db1"):
        wavelet = Wavelet(name)
        assert all(torch.equal(a, b) for a, b in zip(wavelet.dwt(x), haar.dwt(x), strict=True))
        assert torch.equal(wavelet.idwt(*haar.dwt(x)), haar.idwt(*haar.dwt(x)))


def test_a_smooth_picture_is_smooth_at_the_edges_of_symmetric_filters() -> None:
    """A mirrored ramp leaves no detail; a periodic one has an edge."""
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    mirrored, periodic = Wavelet("bior4.4").dwt(ramp)[1].abs().max(), Wavelet("db4").dwt(ramp)[1].abs().max()
    assert mirrored < 0.02
    assert periodic > 0.3


def test_gradients_are_those_of_the_linear_map() -> None:
    wavelet, x = Wavelet("bior4.4"), tensor(1, 1, 8, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: wavelet.dwt(x), (x,))
    low, details = (band.detach().requires_grad_() for band in wavelet.dwt(x))
    assert torch.autograd.gradcheck(lambda a, d: wavelet.idwt(a, d), (low, details))


@pytest.mark.parametrize("name", ["mexh", "dmey", "bior9.9", "", 4, None])
def test_a_wrong_name_is_one_clear_line(name: object) -> None:
    with pytest.raises(RatewrightError, match=r"unknown wavelet .* bior1\.1 to bior6\.8") as raised:
        Wavelet(name)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
