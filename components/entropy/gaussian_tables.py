"""Tables of quantised Gaussians as buffers of a network; components.coding.gaussian_tables has them in use."""

import torch
from torch import Tensor, nn

from ..coding.gaussian_tables import (
    SCALES,
    TABLE_OF_ONE,
    TABLES_PER_LOG,
    TABLES_PER_LOG_BITS,
    UNIT_BITS,
    gaussian_frequencies,
)
from ..layers.fixed_point import rounding_shift
from .integers import Integers, stored


class GaussianTableBuffers(nn.Module):
    """The arrays of Gaussian tables.

    They are computed once, when a codec is made, and stored in its checkpoint, so that every decoder reads the same
    integers.

    Buffers: `support` (SCALES,), half-widths; `frequencies`, all tables one after another.
    """

    support: Tensor
    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, array in zip(("support", "frequencies"), gaussian_frequencies(), strict=True):
            self.register_buffer(name, torch.from_numpy(array))

    def integers(self) -> Integers:
        """What components.coding.gaussian_tables.GaussianTables takes."""
        return {name: stored(buffer) for name, buffer in self.named_buffers()}


def table_index(log_scale: Tensor, shift: Tensor | int = 0) -> Tensor:
    """As components.coding.gaussian_tables.table_index."""
    units = rounding_shift(log_scale * TABLES_PER_LOG, TABLES_PER_LOG_BITS) + TABLE_OF_ONE + shift
    return rounding_shift(units, UNIT_BITS).clamp_(0, SCALES - 1)
