"""Discriminators: networks that train against a codec."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Discriminator(nn.Module, ABC):
    """A network that learns to tell originals from a codec's reconstructions.

    It trains beside the codec, one step on every batch, and is no part of the codec or its checkpoint.
    """

    learning_rate_factor: ClassVar[float] = 1.0
    """The discriminator's learning rate over that of the codec."""

    @abstractmethod
    def loss(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """The discriminator's loss.

        Args:
            x: originals (B, 3, H, W) in [0, 1].
            x_hat: their reconstructions, of the same shape and without gradient.

        Returns:
            A scalar.
        """
