"""The family of Wavelet CAE (paper 004): an autoencoder whose latents are Gaussian channel by channel.

P. Akyazi and T. Ebrahimi, "Learning-Based Image Compression using Convolutional Autoencoder and Wavelet Decomposition",
CVPR Workshops (CLIC) 2019.
"""

from typing import Any, ClassVar

from torch import Tensor

from ...entropy.channel_gaussian import ChannelGaussian
from ..base import Scalar
from ..rate_parameter import RateParameter
from ..tensors import Reconstruction
from .transform import TransformCodec


class GaussianAutoencoder(TransformCodec):
    """A transform codec with one Gaussian for each channel of each picture.

    Training minimises

        J = D + lmbda * R                                      (equations 1 to 3 of the paper)

    with D the mean squared error on [-1, 1] and R the entropy of the latents in bits per element.

        x --g_a--> y --+ noise, or round--> y_hat --g_s--> x_hat
                   y_hat --Gaussian (mean, scale of each channel)--> range coder --> bytes

    Departures: the paper writes D as a sum, but its lmbda = 0.0025 balances at about 0.15 bpp only if D and R are both
    means. Its R lacks a minus sign and weights by the symbol, a misprint.

    Args:
        code_channels: channels of the latents.
        hyperparameters: those of the subclass, stored in checkpoints.
    """

    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "lmbda", "J = MSE on [-1, 1] + lmbda * bits per code element", raises_rate=False
    )

    def __init__(self, code_channels: int, **hyperparameters: Any) -> None:
        super().__init__(**hyperparameters)
        self.latent_channels = code_channels
        self.entropy = ChannelGaussian(code_channels)

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """D and R of the paper. The bits of means and scales are not in R."""
        elements = x[0, 0].numel() * self.latent_channels / self.latent_stride**2
        return 4 * (x - reconstruction.x_hat).square().mean(), reconstruction.bits.mean() / elements

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:
        """J = D + lmbda * R."""
        return distortion + lmbda * rate
