"""Tables of trits: probabilities, expected values and coding priorities of base-3 digits under Gaussians.

DPICT (Lee, Jeon, Choi, Park and Kim, "DPICT: Deep progressive image compression using trit-planes", CVPR 2022) slices
latents into trit planes: digits in base 3, most significant first. A value that lies in an interval of 3^k bins is
coded by its next trit, which says in which third of the interval it lies.

Seen from the Gaussian of the element, all such intervals are alike but for two figures: the Gaussian's scale over the
width of a third, and the distance of the interval's middle from the mean. So small tables of integers, with a row for
the one and a column for the other, serve every trit of every plane:

    frequencies  of the three thirds
    shift        the expected value within the interval
    rank         the priority of the trit: log of (expected reduction in distortion / expected bits), as in
                 DPICT's rate-distortion prioritised transmission
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...coding.fixed_point import ACTIVATION_BITS, UNIT
from ...coding.gain import LOG_GAIN_UNIT
from ...coding.range_coder import TOTAL
from ...layers.fixed_point import rounding_shift
from ..relaxation import log_interval_probability, truncated_gaussian_mean

SCALES = 64
_SMALLEST = 0.11  # the first scale, in bins
_PER_PLANE = 8  # scales in a factor of 3
_UNIT_BITS = 8  # scales are counted in 2^-8 of their distance
_LARGEST_UNITS = (SCALES - 1) << _UNIT_BITS

# The logarithm of a scale in fixed point, and the shift of a gain, to units. The literals are round(2^12 * 8 / log(3)),
# round(2^16 * 2^8 * 8 * LOG_GAIN_UNIT / log(3)) and round(2^8 * 8 * log(1 / 0.11) / log(3)).
_UNITS_PER_LOG, _UNITS_PER_LOG_BITS = 29827, 12
_UNITS_PER_SHIFT, _UNITS_PER_SHIFT_BITS = 64641, 16
_UNITS_OF_ONE = 4115

_WIDTHS = SCALES + _PER_PLANE  # rows: scales of a Gaussian over a third, from 0.11 up in the same steps
_AS_WIDE = 3 * _PER_PLANE  # the row of a Gaussian about as wide as the interval: 0.11 * 3^3 thirds
_FAR_SHARPER = 3 * UNIT
_REACH = 128  # columns: distances up to 8 times the Gaussian's or the interval's width, whichever is larger
_PER_WIDTH = 16
_INVERSE_BITS = 12
_SHIFT_BITS = 14  # expected values are in these parts of the interval
_SUPPORT = 6.11  # standard deviations on each side that the planes hold: all but 1e-9 of a Gaussian
_OUTLIER_SIGMAS = 6
_TOLERANCE = 3  # bins that a value may lie off, however narrow its Gaussian
_PRIORITY_UNIT = 2 * LOG_GAIN_UNIT  # distortion falls with the square of the gain
PRIORITY_PER_PLANE = 2076
"""round(2 * log(3) / _PRIORITY_UNIT): intervals three times as wide have distortions nine times as large."""
_NEVER = -(1 << 20)

LOWEST_PRIORITY = round(math.log(0.14) / _PRIORITY_UNIT)
"""Trits of a lower priority are not worth their bits in a stream whose quantiser step is one bin. The bound is halfway,
in the logarithm, between the trits that make the bins of a flat density and those that would split them."""


class Gaussians(NamedTuple):
    """Distributions of n elements, int64: `mean` (n,) in bins, in fixed point, and `units` (n,) of log-scale."""

    mean: Tensor
    units: Tensor


class Intervals(NamedTuple):
    """Intervals that hold n values, int64: the 3^planes bins around `middle`; `planes` (n,) trits are still to come."""

    middle: Tensor
    planes: Tensor

    @property
    def width(self) -> Tensor:
        """Bins in each interval."""
        return powers_of_3(self.planes)


def powers_of_3(exponents: Tensor) -> Tensor:
    """3^exponents as integers; 1 for negative exponents."""
    table = torch.tensor([3**k for k in range(20)], device=exponents.device)
    return table[exponents.clamp_min(0)]


def units_of(log_scale: Tensor, shift: Tensor) -> Tensor:
    """Units of the scale of an element in bins.

    Args:
        log_scale: logarithm of the scale in latent space, in fixed point (components.layers.fixed_point).
        shift: log-gain (components.entropy.gain); bins are 1 / gain wide.
    """
    units = rounding_shift(log_scale * _UNITS_PER_LOG, _UNITS_PER_LOG_BITS) + _UNITS_OF_ONE
    units = units + rounding_shift(shift * _UNITS_PER_SHIFT, _UNITS_PER_SHIFT_BITS)
    return units.clamp_(0, _LARGEST_UNITS).long()


def scale_of(units: Tensor) -> Tensor:
    """The scale in bins that units stand for, as a float."""
    return _SMALLEST * 3 ** (units / (_PER_PLANE << _UNIT_BITS))


class TritTables(nn.Module):
    """Integer tables of trits, computed once, when a codec is made, and kept in its checkpoint.

    Buffers: `frequencies` (widths, distances, 3), sums TOTAL. `shift` (widths, distances), the expected value from the
    middle of the interval, in 2^-14 of its width. `rank` (widths, distances), the priority in an interval of three
    bins. `inverse` (widths,), columns in an interval, in 2^-12. `scale` (SCALES,), in bins, in fixed point. `planes`
    (SCALES,), of the interval that a value is in from the start.
    """

    frequencies: Tensor
    shift: Tensor
    rank: Tensor
    inverse: Tensor
    scale: Tensor
    planes: Tensor

    def __init__(self) -> None:
        super().__init__()
        sigma = _SMALLEST * 3 ** (torch.arange(_WIDTHS, dtype=torch.float64)[:, None] / _PER_PLANE)  # in thirds
        spacing = torch.maximum(sigma, torch.tensor(3.0)) / _PER_WIDTH
        middle = spacing * torch.arange(-_REACH, _REACH + 1)
        edges = middle[..., None] + torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64)
        low, high = edges[..., :-1], edges[..., 1:]
        scale = sigma[..., None]
        probability = log_interval_probability(low / scale, high / scale).softmax(dim=-1)
        expected = scale * truncated_gaussian_mean(low / scale, high / scale)  # of the value, in each third
        mean = (probability * expected).sum(dim=-1)
        frequencies = 1 + (probability * (TOTAL - 3)).floor().int()
        best = frequencies.argmax(dim=-1, keepdim=True)
        frequencies.scatter_add_(-1, best, TOTAL - frequencies.sum(dim=-1, keepdim=True, dtype=torch.int32))
        bits = (probability * -(frequencies / TOTAL).log2()).sum(dim=-1)
        gained = (probability * (expected - mean[..., None]).square()).sum(dim=-1)
        rank = ((gained / bits).clamp_min(1e-30).log() / _PRIORITY_UNIT).round().clamp_min(_NEVER)
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("shift", ((mean - middle) / 3 * (1 << _SHIFT_BITS)).round().int())
        self.register_buffer("rank", rank.int())
        self.register_buffer("inverse", (3 / spacing[:, 0] * (1 << _INVERSE_BITS)).round().int())
        scales = _SMALLEST * 3 ** (torch.arange(SCALES, dtype=torch.float64) / _PER_PLANE)
        planes = (2 * _SUPPORT * scales).log() / math.log(3)
        self.register_buffer("scale", (scales * UNIT).round().int())
        self.register_buffer("planes", planes.ceil().clamp_min(2).int())

    def moved(self, gaussians: Gaussians, shift: Tensor, log_factor: Tensor) -> Gaussians:
        """Gaussians with other means and scales.

        Args:
            gaussians: of n elements.
            shift: (n,) standard deviations to add to the means, in fixed point.
            log_factor: (n,) logarithms of factors of the scales, in fixed point.
        """
        units = gaussians.units + rounding_shift(log_factor * _UNITS_PER_LOG, _UNITS_PER_LOG_BITS).long()
        mean = gaussians.mean + (shift.long() * self.scale.long()[_nearest(gaussians.units)] >> ACTIVATION_BITS)
        return Gaussians(mean, units.clamp_(0, _LARGEST_UNITS))

    def start(self, gaussians: Gaussians) -> Intervals:
        """The intervals before the first trit: around zero, wide enough for all but 1e-9 of each Gaussian."""
        planes = self.planes[_nearest(gaussians.units)].long()
        return Intervals(torch.zeros_like(planes), planes)

    def is_outlier(self, gaussians: Gaussians, values: Tensor, plane: int) -> Tensor:
        """Mask of the values (n,) so far outside their Gaussians that their trits may never come.

        An outlier lies beyond six standard deviations, and at least 3 * 3^plane bins, from zero.
        """
        reach = self.scale.long()[_nearest(gaussians.units)] * _OUTLIER_SIGMAS >> ACTIVATION_BITS
        return values.abs() > reach.clamp_min(_TOLERANCE * 3**plane)

    def place(self, gaussians: Gaussians, intervals: Intervals) -> tuple[Tensor, Tensor]:
        """The row and the column (n,) of intervals in the tables."""
        row = (_nearest(gaussians.units) - _PER_PLANE * (intervals.planes - 1)).clamp_(0, _WIDTHS - 1)
        distance = (intervals.middle * UNIT - gaussians.mean) * self.inverse.long()[row]
        part = intervals.width << (_INVERSE_BITS + ACTIVATION_BITS)
        column = torch.div(2 * distance + part, 2 * part, rounding_mode="floor")
        return row, column.clamp_(-_REACH, _REACH) + _REACH

    def priorities(self, gaussians: Gaussians, intervals: Intervals) -> Tensor:
        """(n,) priorities of the next trits, interpolated between scales; the lowest for intervals of one bin."""
        _, column = self.place(gaussians, intervals)
        row = (gaussians.units >> _UNIT_BITS) - _PER_PLANE * (intervals.planes - 1)
        below, above = (self.rank.long()[near.clamp(0, _WIDTHS - 1), column] for near in (row, row + 1))
        part = gaussians.units & (1 << _UNIT_BITS) - 1
        priorities = below + ((above - below) * part >> _UNIT_BITS) + PRIORITY_PER_PLANE * (intervals.planes - 1)
        return priorities.where(intervals.planes > 0, _NEVER)

    def sharpness(self, place: tuple[Tensor, Tensor]) -> Tensor:
        """How wide the Gaussians are beside the intervals: the logarithm to base 3, in fixed point, within +-3."""
        sharpness = (place[0] - _AS_WIDE) * (UNIT // _PER_PLANE)
        return sharpness.clamp_(-_FAR_SHARPER, _FAR_SHARPER).double()

    def expected(self, place: tuple[Tensor, Tensor], intervals: Intervals) -> Tensor:
        """(n,) values to reconstruct, in bins, in fixed point: expected values within the intervals."""
        bits = _SHIFT_BITS - ACTIVATION_BITS
        return intervals.middle * UNIT + (self.shift.long()[place] * intervals.width + (1 << bits - 1) >> bits)


def next_trits(values: Tensor, intervals: Intervals) -> Tensor:
    """(n,) next trits 0, 1 or 2 of values (n,), which say in which third of their intervals they lie."""
    third = powers_of_3(intervals.planes - 1)
    trits = torch.div(values - intervals.middle + (3 * third - 1) // 2, third, rounding_mode="floor")
    return trits.clamp_(0, 2)


def split(intervals: Intervals, trits: Tensor) -> Intervals:
    """The thirds of intervals that their next trits (n,) select."""
    middle = intervals.middle + (trits - 1) * powers_of_3(intervals.planes - 1)
    return Intervals(middle, intervals.planes - 1)


def _nearest(units: Tensor) -> Tensor:
    return units + (1 << _UNIT_BITS - 1) >> _UNIT_BITS
