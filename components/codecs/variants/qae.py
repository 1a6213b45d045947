"""QAE: a quantised autoencoder on ResNet-101 with a perceptual loss (paper 003; Kumar et al.)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from ...entropy.bit_depths import BitDepthModel
from ...errors import RatewrightError
from ...layers.imagenet import normalised
from ...layers.residual_upsampling import code_norm, resnet_mirror
from ...layers.resnet import ResNet
from ..base import Scalar, WeightLoader
from ..families.transform import TransformCodec
from ..perceptual_loss import PerceptualLoss
from ..rate_parameter import RateParameter
from ..tensors import Reconstruction


class Qae(TransformCodec):
    """An autoencoder on ResNet-101 whose code is quantised to a few bits ("Quantised autoencoder", paper 003).

        x --ResNet-101: conv1 ... layer4--> 2048 at 1/32 --(average pooling)--> 1x1 conv, BN, clamp--> y in [0, 1]
        y --round to a few bits--> y_hat --counted table of each channel--> range coder --> bytes
        x_hat <--sigmoid, residual upsampling-- y_hat

    M. Kumar, N. Singha, S. Moi and R. K. Tiwari, "Image Compression using Quantized Autoencoders with Perceptual Loss",
    project report, IIT Jodhpur. Trained for the paper's loss, which has no rate:

        L = MSE + mu * mean absolute difference of the features of VGG-19's 36th layer

    The bit depth, one of `bits`, and the number of channels that are sent set the rate. Both are chosen after training,
    which draws them anew for each picture. So a gain is the number of an operating point.

    Departures:
    - The paper pools the whole map of a picture into one vector, which holds little of a large picture, and no
      positions. The default keeps the map. `pool` = 8 is the paper's for its 256x256 pictures: one vector for each such
      square.
    - A 1x1 convolution takes the 2048 channels to `width`, or two bits would cost four bits per pixel.
    - Noise is symmetric (entropy.bit_depths).
    - The decoder mirrors resolutions and widths of the encoder's stages, with two residual blocks for each. Around the
      blocks it is linear and starts as an inverse wavelet packet. From random weights, latents of hundreds of channels
      take thousands of steps to hold more than the mean of a block.

    Args:
        width: channels of the code.
        bits: bit depths to choose from, rising, 1 to 8.
        mu: weight of the perceptual loss; above 0 it needs the weights of VGG-19.
        pool: side of the squares of the map that are averaged: 1, 2, 4 or 8.
        depths: residual blocks of each of ResNet's four stages.
        channels: of ResNet's first stage.
    """

    name: ClassVar[str] = "qae"
    paper_results: ClassVar[str] = (
        "one picture, 8 bits and mu = 0.1: 31.65 dB, SSIM 0.83; files of about 12 kB (2 bits) and 155 kB (8 bits)"
    )
    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "bits", "MSE + mu * |VGG-19 features|", raises_rate=True, set_in_training=False
    )
    pretrained: ClassVar[tuple[str, ...]] = ("resnet101", "vgg19")
    loss_networks: ClassVar[tuple[str, ...]] = ("vgg19",)
    latent_scale: ClassVar[float] = 1.0
    halo: ClassVar[int] = 512  # the receptive field of the encoder

    def __init__(
        self,
        width: int = 128,
        bits: Sequence[int] = (2, 8),
        mu: float = 0.0,
        pool: int = 1,
        depths: Sequence[int] = (3, 4, 23, 3),
        channels: int = 64,
    ) -> None:
        if mu < 0 or pool not in (1, 2, 4, 8):
            raise RatewrightError(f"qae: mu must be at least 0 and pool 1, 2, 4 or 8, not {mu} and {pool}")
        super().__init__(width=width, bits=list(bits), mu=mu, pool=pool, depths=list(depths), channels=channels)
        self.mu = mu
        self.stride = self.latent_stride = 32 * pool
        self.latent_channels = width
        self.resnet = ResNet(depths, channels)
        self.code = nn.Sequential(nn.AvgPool2d(pool), nn.Conv2d(self.resnet.channels, width, 1), code_norm(width))
        self.g_s = resnet_mirror(width, channels, pool)
        self.entropy: BitDepthModel = BitDepthModel(width, bits)
        self.gain.fill_(self.operating_points[-1][-1])
        self._perceptual = PerceptualLoss()

    @property
    def operating_points(self) -> tuple[range, ...]:
        """For each bit depth the gains of 1 to `width` channels."""
        return self.entropy.operating_points

    def describe(self, gain: float) -> str:
        """Bit depth and number of channels in words."""
        bits, width = self.entropy.operating_point(gain)
        return f"{bits}-bit code, {width} channels"

    def load_pretrained(self, loaders: Mapping[str, WeightLoader]) -> list[str]:
        """Load `resnet101` into the encoder, and `vgg19` into the loss, which needs it where mu > 0."""
        super().load_pretrained(loaders)
        if self.mu > 0 and "vgg19" not in loaders:
            raise self._no_perceptual_weights()
        if "vgg19" in loaders:
            self._perceptual.load(loaders["vgg19"])
        if "resnet101" not in loaders:
            return ["no weights of resnet101 are named: the encoder starts from scratch"]
        loaders["resnet101"](self.resnet)
        return []

    def analyse(self, x: Tensor) -> Tensor:
        """The code y before rounding, clamped to [0, 1]: (B, 3, H, W) to (B, width, h, w)."""
        code: Tensor = self.code(self.resnet(normalised(x)))
        return code.float().clamp(0, 1)

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Rounded codes (B, width, h, w) to pictures (B, 3, H, W)."""
        x_hat: Tensor = self.g_s(y_hat)
        return x_hat.float()

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """MSE + mu * the perceptual loss, and bits per pixel, which the loss leaves out."""
        distortion = (x - reconstruction.x_hat).square().mean()
        if self.mu > 0:
            if not self._perceptual.loaded:
                raise self._no_perceptual_weights()
            distortion = distortion + self.mu * self._perceptual(x, reconstruction.x_hat).mean()
        return distortion, reconstruction.bits.mean() / x[0, 0].numel()

    def _no_perceptual_weights(self) -> RatewrightError:
        file = "such as torchvision's vgg19-dcbb9e9d.pth"
        return RatewrightError(
            f"qae with mu = {self.mu:g} needs train.weights.vgg19, the path or address of a file {file}"
        )

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:  # noqa: ARG002
        """The distortion: the paper's loss has no rate."""
        return distortion
