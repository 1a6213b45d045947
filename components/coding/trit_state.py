"""State of progressive decoding: the interval of every latent and the priority of its next trit.

Encoder and decoder hold the same state. It changes with each trit alone, so both find the same coding order.
"""

import numpy as np
from numpy.typing import NDArray

from .trit_tables import LOWEST_PRIORITY, PRIORITY_PER_PLANE, Gaussians, Integers, Intervals, TritTables, split

STAGES_PER_PLANE = 2
"""Stages of a plane, by priority."""
STAGES = range(8 * STAGES_PER_PLANE - 1, -1, -1)
"""All stages, in the order of a stream."""


class TritState:
    """Intervals of n elements and the priorities of their next trits, given the hyperprior's Gaussians.

    Args:
        tables: of trits.
        prior: Gaussians of the elements, in the shape of the latents.
    """

    def __init__(self, tables: TritTables, prior: Gaussians):
        self.tables, self.shape = tables, prior.units.shape
        self.prior = Gaussians(*(part.ravel() for part in prior))
        self.intervals = tables.start(self.prior)
        self.priorities = tables.priorities(self.prior, self.intervals)

    def copy(self) -> Intervals:
        """The intervals as they are now; later trits do not change the copy."""
        return Intervals(*(part.copy() for part in self.intervals))

    def places_in_stage(self, stage: int) -> Integers:
        """Flat indices of elements whose next trit belongs to a stage or to one before it; stage 0 is the last."""
        return _indices(self.priorities >= LOWEST_PRIORITY + stage * PRIORITY_PER_PLANE // STAGES_PER_PLANE)

    def refine(self, places: Integers, trits: Integers) -> None:
        """Replace the intervals at flat indices by the thirds that their next trits select."""
        thirds = split(self.intervals.at(places), trits)
        self.intervals.middle[places], self.intervals.planes[places] = thirds
        self.priorities[places] = self.tables.priorities(self.prior.at(places), thirds)

    def outliers(self, values: Integers, plane: int) -> Integers:
        """Flat indices of the values (n,) that trits would not reach, and that are worth their bits in a plane."""
        return _indices(self.tables.is_outlier(self.prior, values, plane) & (self.intervals.planes > 0))

    def reveal(self, places: Integers, values: Integers) -> None:
        """Set whole values at flat indices; no trits follow for them."""
        self.intervals.middle[places], self.intervals.planes[places] = values, 0
        self.priorities[places] = self.tables.priorities(self.prior.at(places), self.intervals.at(places))

    def shaped(self) -> Intervals:
        """The intervals in the shape of the latents."""
        return Intervals(*(part.reshape(self.shape) for part in self.intervals))


def _indices(mask: NDArray[np.bool_]) -> Integers:
    return np.flatnonzero(mask)
