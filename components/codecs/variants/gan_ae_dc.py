"""GAN-AE(L2, DC): an autoencoder with the discriminator and the loss of DCGAN (paper 002; Sidpara and Makadia)."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ..families.adversarial import AdversarialAutoencoder, GanDiscriminator

_INITIAL_SCALE = 0.02


class DcganDiscriminator(GanDiscriminator):
    """The discriminator of DCGAN (Radford, Metz and Chintala, ICLR 2016): scores are logits of being an original.

    Args:
        channels: outputs of the first convolution.
    """

    def __init__(self, channels: int):
        super().__init__(channels, normalised=True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, _INITIAL_SCALE)

    def generator_loss_of_scores(self, scores: Tensor) -> Tensor:
        """-log sigmoid(scores), the generator loss that does not saturate (Goodfellow et al. 2014)."""
        return F.softplus(-scores)

    def loss(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Binary cross-entropy of the patches' logits: x are originals, x_hat are not."""
        return F.softplus(-self.discriminator(x)).mean() + F.softplus(self.discriminator(x_hat)).mean()


class GanAeDc(AdversarialAutoencoder):
    """An autoencoder trained with MSE and the DCGAN loss ("Lossless MLP, autoencoders, GANs", paper 002).

        x --> g_a --> y --> y_hat, bytes --> g_s --> x_hat
        x, x_hat --4 convs 4x4, stride 2, batch norm--> logits of patches

        codec          L = R + lmbda * 255^2 * (MSE + beta * -log sigmoid(logits of x_hat))
        discriminator      -log sigmoid(logits of x) - log sigmoid(-logits of x_hat)

    P. Sidpara and P. Makadia, "Image Compression using Deep Learning: Lossless (MLP) & Lossy (Auto-encoder & GAN)",
    project report.

    Of the paper: the sum of MSE and the DCGAN loss. Batches of originals and of reconstructions are normalised apart,
    as is usual. Departures: see the base class.

    Args:
        N: channels, as in `cnn_ae`.
        M: channels of the latents.
        beta: weight of the generator loss.
        D: channels of the discriminator's first convolution.
        gain_range: as in `cnn_ae`.
    """

    name: ClassVar[str] = "gan_ae_dc"
    paper_results: ClassVar[str] = "CIFAR-10: 31.54 dB; the best GAN on high-resolution pictures: 32.53 dB, SSIM 0.987"

    def __init__(self, N: int = 64, M: int = 96, beta: float = 0.0001, D: int = 32, gain_range: float = 0.0) -> None:
        super().__init__(N, M, beta, D, gain_range)

    def new_discriminator(self, channels: int) -> GanDiscriminator:
        """A DCGAN discriminator."""
        return DcganDiscriminator(channels)
