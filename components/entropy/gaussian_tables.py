"""Tables of quantised Gaussians as buffers of a network; components.coding.gaussian_tables has them in use."""

import torch
from torch import Tensor, nn

from ..coding.gaussian_tables import gaussian_frequencies
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
