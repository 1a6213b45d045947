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

`components.entropy.progressive.trit_tables` computes them, when a codec is made.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .fixed_point import ACTIVATION_BITS, UNIT, Arrays, Values, rounding_shift
from .gain import LOG_GAIN_UNIT

Integers = NDArray[np.int64]

SCALES = 64
"""Scales of Gaussians over a bin."""
SMALLEST_SCALE = 0.11
"""The first scale, in bins."""
PER_PLANE = 8
"""Scales in a factor of 3."""
UNIT_BITS = 8
"""Scales are counted in 2^-UNIT_BITS of their distance."""
WIDTHS = SCALES + PER_PLANE
"""Rows: scales of a Gaussian over a third, from SMALLEST_SCALE up in the same steps."""
REACH = 128
"""Columns on each side: distances up to 8 times the Gaussian's or the interval's width, whichever is larger."""
INVERSE_BITS = 12
"""Fractional bits of the columns in an interval."""
SHIFT_BITS = 14
"""Expected values are in 2^-SHIFT_BITS of the interval."""
PRIORITY_UNIT = 2 * LOG_GAIN_UNIT
"""Priorities are logarithms in this unit: distortion falls with the square of the gain."""
PRIORITY_PER_PLANE = 2076
"""round(2 * log(3) / PRIORITY_UNIT): intervals three times as wide have distortions nine times as large."""
NEVER = -(1 << 20)
"""The priority of an interval of one bin."""
LOWEST_PRIORITY = round(math.log(0.14) / PRIORITY_UNIT)
"""Trits of a lower priority are not worth their bits in a stream whose quantiser step is one bin. The bound is halfway,
in the logarithm, between the trits that make the bins of a flat density and those that would split them."""

_LARGEST_UNITS = (SCALES - 1) << UNIT_BITS
# The logarithm of a scale in fixed point, and the shift of a gain, to units. The literals are round(2^12 * 8 / log(3)),
# round(2^16 * 2^8 * 8 * LOG_GAIN_UNIT / log(3)) and round(2^8 * 8 * log(1 / 0.11) / log(3)).
_UNITS_PER_LOG, _UNITS_PER_LOG_BITS = 29827, 12
_UNITS_PER_SHIFT, _UNITS_PER_SHIFT_BITS = 64641, 16
_UNITS_OF_ONE = 4115
_AS_WIDE = 3 * PER_PLANE  # the row of a Gaussian about as wide as the interval: 0.11 * 3^3 thirds
_FAR_SHARPER = 3 * UNIT
_OUTLIER_SIGMAS = 6
_TOLERANCE = 3  # bins that a value may lie off, however narrow its Gaussian
_POWERS_OF_3: Integers = 3 ** np.arange(20, dtype=np.int64)


class Gaussians(NamedTuple):
    """Distributions of n elements: `mean` (n,) in bins, in fixed point, and `units` (n,) of log-scale."""

    mean: Integers
    units: Integers

    def at(self, places: Integers) -> "Gaussians":
        """Those at some indices."""
        return Gaussians(self.mean[places], self.units[places])


class Intervals(NamedTuple):
    """Intervals that hold n values: the 3^planes bins around `middle`; `planes` (n,) trits are still to come."""

    middle: Integers
    planes: Integers

    @property
    def width(self) -> Integers:
        """Bins in each interval."""
        return powers_of_3(self.planes)

    def at(self, places: Integers) -> "Intervals":
        """Those at some indices."""
        return Intervals(self.middle[places], self.planes[places])


def powers_of_3(exponents: Integers) -> Integers:
    """3^exponents as integers; 1 for negative exponents."""
    powers: Integers = _POWERS_OF_3[np.maximum(exponents, 0)]
    return powers


def units_of(log_scale: Values, shift: Values) -> Integers:
    """Units of the scale of an element in bins.

    Args:
        log_scale: logarithm of the scale in latent space, in fixed point.
        shift: log-gain (components.coding.gain); bins are 1 / gain wide.
    """
    units = rounding_shift(log_scale * _UNITS_PER_LOG, _UNITS_PER_LOG_BITS) + _UNITS_OF_ONE
    units = units + rounding_shift(shift * _UNITS_PER_SHIFT, _UNITS_PER_SHIFT_BITS)
    return units.clip(0, _LARGEST_UNITS).astype(np.int64)


class TritTables:
    """The tables in use.

    Arrays: trits.frequencies (WIDTHS, distances, 3), sums TOTAL. trits.shift (WIDTHS, distances), the expected value
    from the middle of the interval. trits.rank (WIDTHS, distances), the priority in an interval of three bins.
    trits.inverse (WIDTHS,), columns in an interval. trits.scale (SCALES,), in bins, in fixed point. trits.planes
    (SCALES,), of the interval that a value is in from the start.
    """

    def __init__(self, arrays: Arrays):
        self.frequencies, self._shift, self._rank, self._inverse, self._scale, self._planes = (
            arrays[f"trits.{name}"].astype(np.int64)
            for name in ("frequencies", "shift", "rank", "inverse", "scale", "planes")
        )

    def moved(self, gaussians: Gaussians, shift: Values, log_factor: Values) -> Gaussians:
        """Gaussians with other means and scales.

        Args:
            gaussians: of n elements.
            shift: (n,) standard deviations to add to the means, in fixed point.
            log_factor: (n,) logarithms of factors of the scales, in fixed point.
        """
        units = gaussians.units + rounding_shift(log_factor * _UNITS_PER_LOG, _UNITS_PER_LOG_BITS).astype(np.int64)
        mean = gaussians.mean + (shift.astype(np.int64) * self._scale[_nearest(gaussians.units)] >> ACTIVATION_BITS)
        return Gaussians(mean, units.clip(0, _LARGEST_UNITS))

    def start(self, gaussians: Gaussians) -> Intervals:
        """The intervals before the first trit: around zero, wide enough for all but 1e-9 of each Gaussian."""
        planes: Integers = self._planes[_nearest(gaussians.units)]
        return Intervals(np.zeros_like(planes), planes)

    def is_outlier(self, gaussians: Gaussians, values: Integers, plane: int) -> NDArray[np.bool_]:
        """Mask of the values (n,) so far outside their Gaussians that their trits may never come.

        An outlier lies beyond six standard deviations, and at least 3 * 3^plane bins, from zero.
        """
        reach = self._scale[_nearest(gaussians.units)] * _OUTLIER_SIGMAS >> ACTIVATION_BITS
        mask: NDArray[np.bool_] = np.abs(values) > np.maximum(reach, _TOLERANCE * 3**plane)
        return mask

    def place(self, gaussians: Gaussians, intervals: Intervals) -> tuple[Integers, Integers]:
        """The row and the column (n,) of intervals in the tables."""
        row = (_nearest(gaussians.units) - PER_PLANE * (intervals.planes - 1)).clip(0, WIDTHS - 1)
        distance = (intervals.middle * UNIT - gaussians.mean) * self._inverse[row]
        part = intervals.width << (INVERSE_BITS + ACTIVATION_BITS)
        column = (2 * distance + part) // (2 * part)
        return row, column.clip(-REACH, REACH) + REACH

    def priorities(self, gaussians: Gaussians, intervals: Intervals) -> Integers:
        """(n,) priorities of the next trits, interpolated between scales; the lowest for intervals of one bin."""
        _, column = self.place(gaussians, intervals)
        row = (gaussians.units >> UNIT_BITS) - PER_PLANE * (intervals.planes - 1)
        below, above = (self._rank[near.clip(0, WIDTHS - 1), column] for near in (row, row + 1))
        part = gaussians.units & (1 << UNIT_BITS) - 1
        priorities = below + ((above - below) * part >> UNIT_BITS) + PRIORITY_PER_PLANE * (intervals.planes - 1)
        return np.where(intervals.planes > 0, priorities, NEVER)

    def sharpness(self, place: tuple[Integers, Integers]) -> Values:
        """How wide the Gaussians are beside the intervals: the logarithm to base 3, in fixed point, within +-3."""
        sharpness = (place[0] - _AS_WIDE) * (UNIT // PER_PLANE)
        return sharpness.clip(-_FAR_SHARPER, _FAR_SHARPER).astype(np.float64)

    def expected(self, place: tuple[Integers, Integers], intervals: Intervals) -> Integers:
        """(n,) values to reconstruct, in bins, in fixed point: expected values within the intervals."""
        bits = SHIFT_BITS - ACTIVATION_BITS
        return intervals.middle * UNIT + (self._shift[place] * intervals.width + (1 << bits - 1) >> bits)


def next_trits(values: Integers, intervals: Intervals) -> Integers:
    """(n,) next trits 0, 1 or 2 of values (n,), which say in which third of their intervals they lie."""
    third = powers_of_3(intervals.planes - 1)
    trits: Integers = ((values - intervals.middle + (3 * third - 1) // 2) // third).clip(0, 2)
    return trits


def split(intervals: Intervals, trits: Integers) -> Intervals:
    """The thirds of intervals that their next trits (n,) select."""
    middle = intervals.middle + (trits - 1) * powers_of_3(intervals.planes - 1)
    return Intervals(middle, intervals.planes - 1)


def _nearest(units: Integers) -> Integers:
    return units + (1 << UNIT_BITS - 1) >> UNIT_BITS
