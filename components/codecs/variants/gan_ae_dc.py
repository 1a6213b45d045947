"""GAN-AE(L2, DC): an autoencoder with the discriminator and the loss of DCGAN (paper 002)."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from components.codecs.families.adversarial import AdversarialAutoencoder, GanDiscriminator

_INITIAL_SCALE = 0.02


class DcganDiscriminator(GanDiscriminator):
    """The discriminator of Radford et al. 2016: scores are logits of being an original."""

    def __init__(self, channels: int):
        super().__init__(channels, normalised=True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, _INITIAL_SCALE)

    def generator_loss_of_scores(self, scores: Tensor) -> Tensor:
        """Cross-entropy with the wrong answer (the loss that does not saturate)."""
        return F.softplus(-scores)

    def loss(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Binary cross-entropy, over patches."""
        return F.softplus(-self.discriminator(x)).mean() + F.softplus(self.discriminator(x_hat)).mean()


class GanAeDc(AdversarialAutoencoder):
    """
        x, x_hat --4 convs 4x4, stride 2, batch norm--> logits; x_hat descends
        R + lmbda * 255^2 * (MSE + beta * cross-entropy of its logits with those of originals)

    See the base class. The loss and the discriminator of DCGAN (Radford et al. 2016), of patches. Batches of originals
    and of reconstructions are normalised apart, as is usual.

    N, M, gain_range: as in `cnn_ae`. beta, D: see the base class.
    """

    name: ClassVar[str] = "gan_ae_dc"
    paper_results: ClassVar[str] = "CIFAR-10: 31.54 dB; the best GAN on high-resolution pictures: 32.53 dB, SSIM 0.987"

    def __init__(self, N: int = 64, M: int = 96, beta: float = 0.0001, D: int = 32, gain_range: float = 0.0) -> None:
        super().__init__(N, M, beta, D, gain_range)

    def adversary(self, channels: int) -> GanDiscriminator:
        """DCGAN's."""
        return DcganDiscriminator(channels)
