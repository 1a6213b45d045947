"""Separable wavelet transform of image tensors with any filter bank of PyWavelets, four bands of a quarter each.

    x --filters along rows and columns, stride 2--> LL, and details (LH, HL, HH)
    x <-- the synthesis filters of the bank on interleaved bands

No band has more than a quarter of the samples, so signals are extended without redundancy: mirrored about their first
and last samples where the filters are symmetric (as JPEG 2000 does with `bior4.4`), and periodic elsewhere.
"""

from functools import cache

import numpy as np
import pywt
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ..errors import RatewrightError
from . import haar

HAAR_NAMES = ("haar", "db1")


class Wavelet:
    """One level of a two-dimensional wavelet transform, and its inverse. Haar keeps its own fast arithmetic.

    Args:
        name: of an orthogonal or biorthogonal wavelet, as in `pywt.wavelist(kind="discrete")`; `dmey`, which is
            approximate, is none.

    Raises:
        RatewrightError: PyWavelets has no filter bank of that name.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or name not in _names():
            raise RatewrightError(
                f"unknown wavelet {name!r}: PyWavelets' orthogonal and biorthogonal ones are haar, db1 to db38, sym2 "
                "to sym20, coif1 to coif17, bior1.1 to bior6.8 and rbio1.1 to rbio6.8"
            )
        bank = pywt.Wavelet(name)
        self.is_haar = name in HAAR_NAMES
        self.is_symmetric = _is_symmetric(bank)
        self._reach = bank.dec_len // 2
        self._analysis = _analysis_taps(bank)
        self._synthesis = _synthesis_taps(bank)

    @property
    def is_local(self) -> bool:
        """Whether no band at one edge of a picture depends on the opposite edge."""
        return self.is_haar or self.is_symmetric

    def dwt(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One level of the transform.

        Args:
            x: (B, C, H, W), H and W even.

        Returns:
            The low band LL (B, C, H/2, W/2), and the details (B, 3C, H/2, W/2): the bands with differences down the
            columns, along the rows, and both (PyWavelets' cH, cV and cD), C channels each.
        """
        if self.is_haar:
            return haar.dwt(x)
        low, high = self._filter(x, self._analysis, -1)
        approximation, horizontal_edges = self._filter(low, self._analysis, -2)
        vertical_edges, diagonal = self._filter(high, self._analysis, -2)
        return approximation, torch.cat((horizontal_edges, vertical_edges, diagonal), dim=1)

    def idwt(self, approximation: Tensor, details: Tensor) -> Tensor:
        """The inverse of `dwt`: (B, C, h, w) and (B, 3C, h, w) to (B, C, 2h, 2w)."""
        if self.is_haar:
            return haar.idwt(approximation, details)
        horizontal_edges, vertical_edges, diagonal = details.chunk(3, dim=1)
        low = self._merge(approximation, horizontal_edges, -2)
        high = self._merge(vertical_edges, diagonal, -2)
        return self._merge(low, high, -1)

    def _merge(self, low: Tensor, high: Tensor, axis: int) -> Tensor:
        """Even and odd samples from the two bands along an axis."""
        return _interleave(*self._filter(_interleave(low, high, axis), self._synthesis, axis), axis)

    def _filter(self, x: Tensor, taps: list[list[float]], axis: int) -> tuple[Tensor, Tensor]:
        """Two filters with stride 2 along an axis: (B, C, H, W) to two tensors of half its length.

        Arithmetic is in the type of x, whatever the autocast precision.
        """
        extended = self._extend(x, axis)
        batch, channels, height, width = extended.shape
        weight = x.new_tensor(taps)[:, None]
        weight, stride = (weight[:, :, None], (1, 2)) if axis == -1 else (weight[..., None], (2, 1))
        with torch.autocast(x.device.type, enabled=False):
            both = conv2d(extended.reshape(batch * channels, 1, height, width), weight, stride=stride)
        first, second = both.view(batch, channels, *both.shape[1:]).unbind(2)
        return first, second

    def _extend(self, x: Tensor, axis: int) -> Tensor:
        """x with `_reach` further samples at both ends of an axis; it may be shorter than they are."""
        length = x.shape[axis]
        period = 2 * length - 2 if self.is_symmetric else length
        position = torch.arange(-self._reach, length + self._reach, device=x.device) % period
        if self.is_symmetric:
            position = torch.minimum(position, period - position)
        before, after = position[: self._reach], position[length + self._reach :]
        return torch.cat((x.index_select(axis, before), x, x.index_select(axis, after)), dim=axis)


@cache
def _names() -> frozenset[str]:
    return frozenset(pywt.wavelist(kind="discrete")) - {"dmey"}  # its reconstruction is approximate


def _interleave(even: Tensor, odd: Tensor, axis: int) -> Tensor:
    """A tensor of twice the length along axis -1 or -2, samples in turns."""
    return torch.stack((even, odd), dim=axis if axis == -1 else 3).flatten(axis - 1, axis)


# Low band k lies at sample 2k and high band k at 2k + 1, as in PyWavelets' mode "periodization". Output k of a filter
# reads samples 2k - L/2 to 2k + L/2 + 1 of a bank of L taps: pixels, or interleaved bands.


def _analysis_taps(bank: pywt.Wavelet) -> list[list[float]]:
    """(2, L + 2): the weights of pixels in a low and a high sample."""
    return [[0.0, *reversed(taps), 0.0] for taps in (bank.dec_lo, bank.dec_hi)]


def _synthesis_taps(bank: pywt.Wavelet) -> list[list[float]]:
    """(2, L + 2): the weights of interleaved bands in an even and an odd pixel."""
    half = bank.dec_len // 2

    def tap(parity: int, offset: int) -> float:
        """The weight of the band sample at 2k + offset in pixel 2k + parity."""
        filter_ = bank.rec_hi if offset % 2 else bank.rec_lo
        index = parity - (offset - offset % 2) + half - 1
        return float(filter_[index]) if 0 <= index < bank.dec_len else 0.0

    return [[tap(parity, offset) for offset in range(-half, half + 2)] for parity in (0, 1)]


def _is_symmetric(bank: pywt.Wavelet) -> bool:
    """Whether both filters have an odd length and are symmetric about the sample that they stand for.

    PyWavelets fills such filters up to an even length: the low-pass one at its start, the other one at its end.
    """
    low, high = np.array(bank.dec_lo), np.array(bank.dec_hi)
    low_core, high_core = low[1:], high[:-1]
    cores_mirror = np.allclose(low_core, low_core[::-1]) and np.allclose(high_core, high_core[::-1])
    return bool(cores_mirror and np.allclose([low[0], high[-1]], 0))
