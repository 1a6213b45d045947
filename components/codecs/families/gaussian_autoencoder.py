"""What the codecs of paper 004 share: a convolutional autoencoder whose code is Gaussian channel by channel."""

from typing import ClassVar

from torch import Tensor

from components.codecs.base import Scalar
from components.codecs.families.transform import TransformCodec
from components.codecs.rate_parameter import RateParameter
from components.codecs.tensors import Reconstruction
from components.entropy.channel_gaussian import ChannelGaussian


class GaussianAutoencoder(TransformCodec):
    """A transform codec with a Gaussian for each channel of each image.

    Loss (paper 004, equations 1 to 3): J = D + lmbda R, with D the mean squared error on [-1, 1] and R the
    entropy in bits per element of the code. The paper writes D as a sum, but its lmbda = 0.0025 balances at
    about 0.15 bpp only when both are means; its R lacks a minus and weights by the symbol, a misprint.
    """

    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "lmbda", "J = MSE on [-1, 1] + lmbda * bits per code element", raises_rate=False
    )

    def __init__(self, code_channels: int) -> None:
        super().__init__()
        self.latent_channels = code_channels
        self.entropy = ChannelGaussian(code_channels)

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """D and R in the units above; side information is left out."""
        elements = x[0, 0].numel() * self.latent_channels / self.latent_stride**2
        return 4 * (x - reconstruction.x_hat).square().mean(), reconstruction.bits.mean() / elements

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:
        """D + lmbda R."""
        return distortion + lmbda * rate
