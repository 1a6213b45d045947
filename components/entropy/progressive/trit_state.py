"""State of progressive decoding: the interval of every latent and the priority of its next trit.

Encoder and decoder hold the same state. It changes with each trit alone, so both find the same coding order.
"""

from collections.abc import Iterable

from torch import Tensor

from .trit_tables import (
    LOWEST_PRIORITY,
    PRIORITY_PER_PLANE,
    Gaussians,
    Intervals,
    TritTables,
    split,
)

STAGES_PER_PLANE = 2
"""Stages of a plane, by priority."""


class TritState:
    """Intervals of n elements and the priorities of their next trits, given the hyperprior's Gaussians.

    Args:
        tables: of trits.
        prior: Gaussians of the elements, in the shape of the latents.
    """

    def __init__(self, tables: TritTables, prior: Gaussians):
        self.tables, self.shape = tables, prior.units.shape
        self.prior = Gaussians(*flat(prior))
        self.intervals = tables.start(self.prior)
        self.priorities = tables.priorities(self.prior, self.intervals)

    def copy(self) -> Intervals:
        """The intervals as they are now; later trits do not change the copy."""
        return Intervals(*(part.clone() for part in self.intervals))

    def places_in_stage(self, stage: int) -> Tensor:
        """Flat indices of elements whose next trit belongs to a stage or to one before it; stage 0 is the last."""
        return (self.priorities >= LOWEST_PRIORITY + stage * PRIORITY_PER_PLANE // STAGES_PER_PLANE).nonzero()[:, 0]

    def at(self, places: Tensor) -> Intervals:
        """The intervals at flat indices."""
        return Intervals(*at(self.intervals, places))

    def refine(self, places: Tensor, trits: Tensor) -> None:
        """Replace the intervals at flat indices by the thirds that their next trits select."""
        thirds = split(self.at(places), trits)
        self.intervals.middle[places], self.intervals.planes[places] = thirds
        self.priorities[places] = self.tables.priorities(Gaussians(*at(self.prior, places)), thirds)

    def outliers(self, values: Tensor, plane: int) -> Tensor:
        """Flat indices of the values (n,) that trits would not reach, and that are worth their bits in a plane."""
        return (self.tables.is_outlier(self.prior, values, plane) & (self.intervals.planes > 0)).nonzero()[:, 0]

    def reveal(self, places: Tensor, values: Tensor) -> None:
        """Set whole values at flat indices; no trits follow for them."""
        self.intervals.middle[places], self.intervals.planes[places] = values, 0
        self.priorities[places] = self.tables.priorities(Gaussians(*at(self.prior, places)), self.at(places))

    def shaped(self) -> Intervals:
        """The intervals in the shape of the latents."""
        return Intervals(*(part.view(self.shape) for part in self.intervals))


def flat(parts: Iterable[Tensor]) -> Iterable[Tensor]:
    """Tensors, each flattened."""
    return (part.flatten() for part in parts)


def at(parts: Iterable[Tensor], places: Tensor) -> Iterable[Tensor]:
    """Flat tensors, each at the same indices."""
    return (part[places] for part in parts)
