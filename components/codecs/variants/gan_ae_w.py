"""GAN-AE(L2, W): an autoencoder with a Wasserstein discriminator (paper 002; Sidpara and Makadia)."""

from typing import ClassVar

import torch
from torch import Tensor

from ..families.adversarial import AdversarialAutoencoder, GanDiscriminator

_GRADIENT_PENALTY = 10.0


class WassersteinDiscriminator(GanDiscriminator):
    """The critic of a Wasserstein GAN with gradient penalty (Gulrajani et al., NeurIPS 2017).

    Gradients are taken relative to the root mean square of a picture's pixels, so that neither the scores nor `beta`
    depend on the size of the patches.

    Args:
        channels: outputs of the first convolution.
    """

    def __init__(self, channels: int):
        super().__init__(channels, normalised=False)  # the gradient penalty is of single pictures

    def generator_loss_of_scores(self, scores: Tensor) -> Tensor:
        """The negative score."""
        return -scores

    def loss(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """mean score of x_hat - mean score of x + 10 * (slope - 1)^2, the slope taken at random points between them."""
        share = torch.rand(len(x), 1, 1, 1, device=x.device)
        between = torch.lerp(x, x_hat, share).requires_grad_()
        score = self.discriminator(between).flatten(1).mean(1).sum()
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        slope = gradient.flatten(1).norm(dim=1) * gradient[0].numel() ** 0.5
        distance = self.discriminator(x).mean() - self.discriminator(x_hat).mean()
        loss: Tensor = _GRADIENT_PENALTY * (slope - 1).square().mean() - distance
        return loss


class GanAeW(AdversarialAutoencoder):
    """An autoencoder trained with MSE and a Wasserstein distance ("Lossless MLP, autoencoders, GANs", paper 002).

        x --> g_a --> y --> y_hat, bytes --> g_s --> x_hat
        x, x_hat --4 convs 4x4, stride 2--> scores of patches

        codec          L = R + lmbda * 255^2 * (MSE - beta * score of x_hat)
        discriminator      score of x_hat - score of x + 10 * (slope - 1)^2

    P. Sidpara and P. Makadia, "Image Compression using Deep Learning: Lossless (MLP) & Lossy (Auto-encoder & GAN)",
    project report.

    Of the paper: the sum of MSE and the Wasserstein loss. Chosen here: the gradient penalty of Gulrajani et al. 2017.

    Departures: one step of the discriminator for each of the codec instead of five. The codec changes little from batch
    to batch, because it does not generate from noise. For the others see the base class.

    Args:
        N: channels, as in `cnn_ae`.
        M: channels of the latents.
        beta: weight of the generator loss.
        D: channels of the discriminator's first convolution.
        gain_range: as in `cnn_ae`.
    """

    name: ClassVar[str] = "gan_ae_w"
    paper_results: ClassVar[str] = "CIFAR-10: 36.98 dB; the best GAN on high-resolution pictures: 32.53 dB, SSIM 0.987"

    def __init__(self, N: int = 64, M: int = 96, beta: float = 0.002, D: int = 32, gain_range: float = 0.0) -> None:
        super().__init__(N, M, beta, D, gain_range)

    def new_discriminator(self, channels: int) -> GanDiscriminator:
        """A Wasserstein discriminator."""
        return WassersteinDiscriminator(channels)
