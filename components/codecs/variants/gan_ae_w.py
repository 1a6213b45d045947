"""GAN-AE(L2, W): an autoencoder with a Wasserstein discriminator (paper 002)."""

from typing import ClassVar

import torch
from torch import Tensor

from components.codecs.families.adversarial import AdversarialAutoencoder, GanDiscriminator

_PENALTY = 10.0


class WassersteinDiscriminator(GanDiscriminator):
    """The discriminator of Gulrajani et al. 2017: scores as far apart as their slope of 1 allows.

    A slope is over the root mean square of a picture's pixels, so that neither the scores nor `beta` depend on the size
    of patches.
    """

    def __init__(self, channels: int):
        super().__init__(channels, normalised=False)  # the penalty is of single pictures

    def generator_loss_of_scores(self, scores: Tensor) -> Tensor:
        """The negative score."""
        return -scores

    def loss(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Minus the distance of the scores, and the penalty of slopes other than 1 between the two."""
        share = torch.rand(len(x), 1, 1, 1, device=x.device)
        between = torch.lerp(x, x_hat, share).requires_grad_()
        score = self.discriminator(between).flatten(1).mean(1).sum()
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        slope = gradient.flatten(1).norm(dim=1) * gradient[0].numel() ** 0.5
        distance = self.discriminator(x).mean() - self.discriminator(x_hat).mean()
        loss: Tensor = _PENALTY * (slope - 1).square().mean() - distance
        return loss


class GanAeW(AdversarialAutoencoder):
    """
        x, x_hat --4 convs 4x4, stride 2--> scores; x_hat descends R + lmbda * 255^2 * (MSE - beta * its score)

    See the base class. The Wasserstein distance with gradient penalty (Gulrajani et al. 2017), with one step of the
    discriminator for each of the codec instead of five: the codec moves little from batch to batch, for it is not a
    generator from noise.

    N, M, gain_range: as in `cnn_ae`. beta, D: see the base class.
    """

    name: ClassVar[str] = "gan_ae_w"
    paper_results: ClassVar[str] = "CIFAR-10: 36.98 dB; the best GAN on high-resolution pictures: 32.53 dB, SSIM 0.987"

    def __init__(self, N: int = 64, M: int = 96, beta: float = 0.002, D: int = 32, gain_range: float = 0.0) -> None:
        super().__init__(N, M, beta, D, gain_range)

    def adversary(self, channels: int) -> GanDiscriminator:
        """A Wasserstein discriminator."""
        return WassersteinDiscriminator(channels)
