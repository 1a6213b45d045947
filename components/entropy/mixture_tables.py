"""Tables of quantised Gaussian mixtures as buffers of a network; components.coding.mixture_tables has them in use."""

import torch
from torch import nn

from ..coding.mixture_tables import mixture_arrays
from .integers import Integers, stored


class MixtureTableBuffers(nn.Module):
    """The arrays of mixture tables, stored in a codec's checkpoint. Buffers: see MixtureTables."""

    def __init__(self) -> None:
        super().__init__()
        for name, array in mixture_arrays().items():
            self.register_buffer(name, torch.from_numpy(array))

    def integers(self) -> Integers:
        """What MixtureTables takes."""
        return {name: stored(buffer) for name, buffer in self.named_buffers()}
