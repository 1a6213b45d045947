"""The family of `cnn_ae` and `cnn_ae_ft` (paper 002; Sidpara and Makadia): an autoencoder with a perceptual loss."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ...errors import RatewrightError
from ..base import WeightLoader
from ..perceptual_loss import PerceptualLoss, ssim_loss
from ..rate_parameter import RateParameter
from .pooling_autoencoder import ConvolutionalAutoencoder


class PerceptualAutoencoder(ConvolutionalAutoencoder):
    """A convolutional autoencoder with a perceptual term in its distortion.

    Training minimises

        L = R + lmbda * 255^2 * (MSE + mu * perceptual)

    Of the paper: the sum of MSE and a perceptual loss. It names neither that loss nor its weight. Chosen here:
    1 - SSIM, which needs no weights and is one of the paper's two measures; mu = 0.002 makes it about a fifth of the
    MSE at 0.15 bpp. With `train.weights.vgg19` it is the distance of VGG-19's features instead, as in the quantised
    autoencoder (paper 003).

    Args:
        N: channels, see the base class.
        M: channels of the latents.
        mu: weight of the perceptual loss; 0 for none.
        gain_range: see the base class.
    """

    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "lmbda", "L = bits per pixel + lmbda * 255^2 * (MSE on [0, 1] + mu * perceptual)", raises_rate=True
    )
    pretrained: ClassVar[tuple[str, ...]] = ("vgg19",)
    loss_networks: ClassVar[tuple[str, ...]] = ("vgg19",)

    def __init__(self, N: int = 64, M: int = 96, mu: float = 0.002, gain_range: float = 0.0) -> None:
        if mu < 0:
            raise RatewrightError(f"{self.name}: mu must be at least 0, not {mu}")
        super().__init__(N, M, gain_range, mu=mu)
        self.mu = mu
        self._perceptual = PerceptualLoss()

    def load_pretrained(self, loaders: Mapping[str, WeightLoader]) -> list[str]:
        """Load `vgg19`, whose features then replace SSIM in the loss."""
        super().load_pretrained(loaders)
        if "vgg19" in loaders:
            self._perceptual.load(loaders["vgg19"])
        return []

    def distortions(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """MSE + mu * perceptual of each picture (B,)."""
        error = super().distortions(x, x_hat)
        if self.mu == 0:
            return error
        return error + self.mu * (self._perceptual if self._perceptual.loaded else ssim_loss)(x, x_hat)
