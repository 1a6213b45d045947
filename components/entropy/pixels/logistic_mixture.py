"""Distribution of a byte around a predicted mean: two logistics, continuous in training and tables in coding.

A mixture of logistics as in PixelCNN++ (Salimans et al., ICLR 2017), here with one mean and scales in the ratio 1:3.
The fraction of the mean (FRACTIONS values), the scale (SCALES, even in the logarithm) and the weight of the wider
logistic (WEIGHTS, even in the logit) are numbers of a grid. There is a table for each point of the grid, stored with
the checkpoint: integers alone decide a symbol.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..relaxation import lower_bound
from .rans import TOTAL

FRACTION_BITS = 3
FRACTIONS = 1 << FRACTION_BITS
SCALES = 32
WEIGHTS = 4
ESCAPE = 128
"""The residual, modulo 256, that stands for an escape: the real one follows as a raw byte."""

_LOWEST_LOG_SCALE, _LOG_SCALE_STEP = -2.4, 0.21
_LOWEST_LOGIT, _LOGIT_STEP = -4.0, 1.5
_WIDER = 3.0  # the scale of the second logistic over that of the first
_FLOOR = 1 / 512  # of probability, spread over all values: the cost of escapes


def bits(distance: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Bits of values under the mixture, with gradients.

    Args:
        distance: of the value from the mean, in grey levels.
        scale: number of the scale in the grid, or between two.
        weight: number of the weight in the grid, or between two.

    Returns:
        Bits in the common shape of the arguments.
    """
    distance = distance.abs()  # the tail where sigmoids do not cancel
    inverse = (-_LOWEST_LOG_SCALE - _LOG_SCALE_STEP * _within_grid(scale, SCALES - 1)).exp()
    wide = torch.sigmoid(_LOWEST_LOGIT + _LOGIT_STEP * _within_grid(weight, WEIGHTS - 1))
    mass = (1 - wide) * _logistic_mass(distance, inverse) + wide * _logistic_mass(distance, inverse / _WIDER)
    return -((1 - _FLOOR) * mass + _FLOOR / 256).log2()


def row_of(fraction: NDArray[np.int32], scale: NDArray[np.int32], weight: NDArray[np.int32]) -> NDArray[np.int32]:
    """The number of the table of a point of the grid."""
    row: NDArray[np.int32] = (fraction * SCALES + scale) * WEIGHTS + weight
    return row


def tables() -> Tensor:
    """(FRACTIONS * SCALES * WEIGHTS, 256) int16 frequencies of residuals modulo 256, with row sums of TOTAL.

    A residual is the value less the mean rounded down. Residuals that are too rare have frequency zero and are escaped.
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


def _within_grid(number: Tensor, last: int) -> Tensor:
    """Numbers clamped to 0 ... last; outside, gradients that lead back pass through."""
    return -lower_bound(-lower_bound(number, 0.0), -float(last))


def _logistic_mass(distance: Tensor, inverse: Tensor) -> Tensor:
    """Probability of the interval of one grey level at a distance from the mean; inverse is 1 / scale."""
    return torch.sigmoid((0.5 - distance) * inverse) - torch.sigmoid((-0.5 - distance) * inverse)
