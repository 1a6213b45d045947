"""qae: a quantised autoencoder on ResNet-101 with a perceptual loss (paper 003)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from components.codecs.base import Scalar, Weights
from components.codecs.families.transform import TransformCodec
from components.codecs.perceptual_loss import PerceptualLoss
from components.codecs.rate_parameter import RateParameter
from components.codecs.tensors import Reconstruction
from components.entropy.bit_depths import BitDepthModel
from components.errors import RatewrightError
from components.layers.imagenet import normalised
from components.layers.residual_upsampling import code_norm, resnet_mirror
from components.layers.resnet import ResNet


class Qae(TransformCodec):
    """
        x --ResNet-101: conv1 .. layer4--> 2048 at 1/32 --(average pooling)--> 1x1, BN, clamp--> y in [0, 1] (width)
        y --round to a few bits, counted tables--> bytes;  x_hat <--sigmoid, residual upsampling-- y_hat

    Loss (paper 003): MSE + mu * the mean absolute difference of VGG-19's 36th features. There is no lambda: the
    rate is set by the bit depth, one of `bits`, and by how many channels of the code are sent; both are chosen after
    training, which draws them anew for each image.

    Departures. The paper pools the whole map of a picture into one vector, which can say little of a large picture
    and nothing of where things are; the default keeps the map, and `pool` = 8 is the paper's for its 256x256 pictures:
    a vector for each such square. A 1x1 convolution takes the 2048 channels to `width`, or two bits would cost four
    bits per pixel. Noise is symmetric (entropy.levels). The decoder mirrors the resolutions and the widths of the
    encoder's stages, with two residual blocks for each instead of as many as there; what goes around the blocks is
    linear, so that it can start as an inverse wavelet packet: from random weights, a code of hundreds of channels
    takes thousands of steps to say more than the mean of a block.

    width: channels of the code. bits: the depths to choose from. mu: of the perceptual loss. pool: side of the squares
    of the map that are averaged. depths, channels: of the ResNet.
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
    halo: ClassVar[int] = 512  # the encoder sees that far

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
            raise RatewrightError(f"qae: mu is at least 0 and pool 1, 2, 4 or 8, not {mu} and {pool}")
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
        """Those of each bit depth: a width after the other."""
        return self.entropy.operating_points

    def describe(self, gain: float) -> str:
        """Bits and channels."""
        bits, width = self.entropy.operating_point(gain)
        return f"{bits}-bit code, {width} channels"

    def load_pretrained(self, weights: Mapping[str, Weights]) -> list[str]:
        """Weights of `resnet101` for the encoder, and of `vgg19`, which mu > 0 needs."""
        super().load_pretrained(weights)
        if self.mu > 0 and "vgg19" not in weights:
            raise self._judge_missing()
        if "vgg19" in weights:
            self._perceptual.load(weights["vgg19"])
        if "resnet101" not in weights:
            return ["no weights of resnet101 are named: the encoder starts from scratch"]
        weights["resnet101"](self.resnet)
        return []

    def analyse(self, x: Tensor) -> Tensor:
        """The code before rounding, clamped to [0, 1]."""
        code: Tensor = self.code(self.resnet(normalised(x)))
        return code.float().clamp(0, 1)

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Codes to pictures."""
        x_hat: Tensor = self.g_s(y_hat)
        return x_hat.float()

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """MSE + mu * the perceptual loss, and bits per pixel, which nothing descends."""
        distortion = (x - reconstruction.x_hat).square().mean()
        if self.mu > 0:
            if not self._perceptual.loaded:
                raise self._judge_missing()
            distortion = distortion + self.mu * self._perceptual(x, reconstruction.x_hat).mean()
        return distortion, reconstruction.bits.mean() / x[0, 0].numel()

    def _judge_missing(self) -> RatewrightError:
        file = "such as torchvision's vgg19-dcbb9e9d.pth"
        return RatewrightError(
            f"qae with mu = {self.mu:g} needs train.weights.vgg19, the path or address of a file {file}"
        )

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:  # noqa: ARG002
        """The distortion."""
        return distortion
