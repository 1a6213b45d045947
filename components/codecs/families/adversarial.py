"""The family of the GAN codecs (paper 002; Sidpara and Makadia): an autoencoder trained against a discriminator."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.func import functional_call

from ...errors import RatewrightError
from ...layers.discriminator import PatchDiscriminator
from ..discriminator import Discriminator
from ..rate_parameter import RateParameter
from ..tensors import Loss, Reconstruction
from .pooling_autoencoder import ConvolutionalAutoencoder


class GanDiscriminator(Discriminator):
    """A patch discriminator and the generator loss that goes with it.

    Args:
        channels: outputs of the first convolution.
        normalised: whether batch normalisation follows the inner convolutions.
    """

    learning_rate_factor: ClassVar[float] = 0.5

    def __init__(self, channels: int, *, normalised: bool):
        super().__init__()
        self.discriminator = PatchDiscriminator(channels, normalised=normalised)

    def generator_loss(self, x_hat: Tensor) -> Tensor:
        """The generator's loss of each picture (B,): low where reconstructions pass for originals.

        Its gradient goes to the reconstructions x_hat (B, 3, H, W), not to the discriminator.
        """
        fixed = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        scores: Tensor = functional_call(self.discriminator, fixed, (x_hat,))
        return self.generator_loss_of_scores(scores).flatten(1).mean(1)

    @abstractmethod
    def generator_loss_of_scores(self, scores: Tensor) -> Tensor:
        """The generator's loss for scores of reconstructions, element by element."""


class AdversarialAutoencoder(ConvolutionalAutoencoder):
    """A convolutional autoencoder whose decoder is the generator of a GAN.

    Training minimises

        L = R + lmbda * 255^2 * (MSE + beta * generator loss)

    with the discriminator beside it:

        x --> g_a --> y --> y_hat, bytes --> g_s --> x_hat --> discriminator <-- x

    Of the paper: "L2 and" an adversarial loss, on the autoencoder of `cnn_ae`. It gives neither weights nor sizes.
    Codec and discriminator take one step each on every batch. The discriminator is no part of the codec, and a
    fine-tune trains a new one. Validations leave out the generator loss, because its level moves with the
    discriminator: the best weights are those with the least R + lmbda * 255^2 * MSE.

    Args:
        N: channels, see the base class.
        M: channels of the latents.
        beta: weight of the generator loss; 0 is a plain autoencoder.
        D: channels of the discriminator's first convolution.
        gain_range: see the base class.
    """

    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "lmbda", "L = bits per pixel + lmbda * 255^2 * (MSE on [0, 1] + beta * generator loss)", raises_rate=True
    )

    def __init__(self, N: int, M: int, beta: float, D: int, gain_range: float) -> None:
        if beta < 0:
            raise RatewrightError(f"{self.name}: beta must be at least 0, not {beta}")
        super().__init__(N, M, gain_range, beta=beta, D=D)
        self.beta = beta
        self._discriminators = (self.new_discriminator(D),)  # in a tuple, or it would be a submodule of the codec

    @abstractmethod
    def new_discriminator(self, channels: int) -> GanDiscriminator:
        """An untrained discriminator with this many channels after its first convolution."""

    def discriminators(self) -> tuple[Discriminator, ...]:
        """The discriminator, unless beta is 0."""
        return self._discriminators if self.beta > 0 else ()

    def loss(self, x: Tensor, reconstruction: Reconstruction, lmbda: float) -> Loss:
        """The loss of the base class; in training, `total` has the generator loss in addition."""
        loss = super().loss(x, reconstruction, lmbda)
        if not self.training or self.beta == 0:
            return loss
        (discriminator,) = self._discriminators
        generator_loss = discriminator.to(x.device).generator_loss(reconstruction.x_hat)
        if reconstruction.weight is not None:
            generator_loss = generator_loss * reconstruction.weight
        distortion = loss.distortion + self.beta * 255**2 * generator_loss.mean()
        return loss._replace(total=self.objective(distortion, loss.rate, lmbda))
