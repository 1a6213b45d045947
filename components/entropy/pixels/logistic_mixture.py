"""Mixtures of two logistics around one mean: the distribution of a byte, continuous in training, tables in coding.

The mean has a fraction of 1 / FRACTIONS; the scale and the weight of the wider logistic are numbered in even steps of
their logarithm and logit. All of them make a grid of tables, stored with the checkpoint: integers alone decide.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.entropy.pixels.rans import TOTAL
from components.entropy.relaxation import lower_bound

FRACTION_BITS = 3
FRACTIONS = 1 << FRACTION_BITS
SCALES = 32
WEIGHTS = 4
ESCAPE = 128
"""The value of a residual, modulo 256, that says: this one follows by itself."""

_LOWEST_LOG_SCALE, _LOG_SCALE_STEP = -2.4, 0.21
_LOWEST_LOGIT, _LOGIT_STEP = -4.0, 1.5
_WIDER = 3.0  # the scale of the second logistic over that of the first
_FLOOR = 1 / 512  # of probability, spread over all values: what escapes cost


def bits(distance: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Bits of values at `distance` from the mean; `scale` and `weight` are numbers of the grid, or between them."""
    distance = distance.abs()  # the tail where sigmoids do not cancel
    inverse = (-_LOWEST_LOG_SCALE - _LOG_SCALE_STEP * _between(scale, SCALES - 1)).exp()
    wide = torch.sigmoid(_LOWEST_LOGIT + _LOGIT_STEP * _between(weight, WEIGHTS - 1))
    mass = (1 - wide) * _mass(distance, inverse) + wide * _mass(distance, inverse / _WIDER)
    return -((1 - _FLOOR) * mass + _FLOOR / 256).log2()


def row_of(fraction: NDArray[np.int32], scale: NDArray[np.int32], weight: NDArray[np.int32]) -> NDArray[np.int32]:
    """The number of a table."""
    row: NDArray[np.int32] = (fraction * SCALES + scale) * WEIGHTS + weight
    return row


def tables() -> Tensor:
    """(FRACTIONS * SCALES * WEIGHTS, 256) frequencies, int16, of the residuals modulo 256; each row adds up to TOTAL.

    A residual is the value less the mean rounded down. Those that are too rare for a frequency have none and are
    escapes.
    """
    fraction, scale, weight = torch.meshgrid(
        *(torch.arange(count, dtype=torch.float64) for count in (FRACTIONS, SCALES, WEIGHTS)), indexing="ij"
    )
    residual = torch.arange(256, dtype=torch.float64)
    residual = torch.where(residual < ESCAPE, residual, residual - 256)
    distance = residual - ((fraction.flatten() + 0.5) / FRACTIONS)[:, None]
    mass = (2.0 ** -bits(distance, scale.flatten()[:, None], weight.flatten()[:, None])).numpy()
    mass[:, ESCAPE] = 0
    frequencies = np.rint(mass * (TOTAL - 1)).astype(np.int64)
    frequencies[:, ESCAPE] = np.maximum(1, np.rint((mass * (frequencies == 0)).sum(axis=1) * TOTAL))
    largest = frequencies.argmax(axis=1)
    frequencies[np.arange(len(frequencies)), largest] += TOTAL - frequencies.sum(axis=1)
    return torch.from_numpy(frequencies.astype(np.int16))


def _between(number: Tensor, last: int) -> Tensor:
    """Numbers moved to 0 ... last, with a gradient where it leads back."""
    return -lower_bound(-lower_bound(number, 0.0), -float(last))


def _mass(distance: Tensor, inverse: Tensor) -> Tensor:
    return torch.sigmoid((0.5 - distance) * inverse) - torch.sigmoid((-0.5 - distance) * inverse)
