"""Networks that train against a codec."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Discriminator(nn.Module, ABC):
    """A network that trains beside a codec on what the codec makes of pictures, and is no part of it.

    pace: its learning rate over the codec's.
    """

    pace: ClassVar[float] = 1.0

    @abstractmethod
    def loss(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """What it descends, of pictures and their reconstructions (B, 3, H, W), which have no gradient."""
