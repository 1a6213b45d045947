"""What the GAN codecs of paper 002 share: an autoencoder that trains against a discriminator."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.func import functional_call

from components.codecs.discriminator import Discriminator
from components.codecs.families.pooling_autoencoder import ConvolutionalAutoencoder
from components.codecs.rate_parameter import RateParameter
from components.codecs.tensors import Loss, Reconstruction
from components.errors import RatewrightError
from components.layers.discriminator import PatchDiscriminator


class GanDiscriminator(Discriminator):
    """A discriminator that tells originals from reconstructions by the scores of a discriminator."""

    learning_rate_factor: ClassVar[float] = 0.5

    def __init__(self, channels: int, *, normalised: bool):
        super().__init__()
        self.discriminator = PatchDiscriminator(channels, normalised=normalised)

    def generator_loss(self, x_hat: Tensor) -> Tensor:
        """What the codec descends, for each picture (B,): low where reconstructions pass for originals."""
        fixed = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        scores: Tensor = functional_call(self.discriminator, fixed, (x_hat,))
        return self.generator_loss_of_scores(scores).flatten(1).mean(1)

    @abstractmethod
    def generator_loss_of_scores(self, scores: Tensor) -> Tensor:
        """What the codec pays for the scores of its reconstructions, of the same shape."""


class AdversarialAutoencoder(ConvolutionalAutoencoder):
    """
        x --> g_a --> y --> bytes --> y_hat --> g_s --> x_hat --> discriminator <-- x

    Loss (paper 002, "L2 and" an adversarial term): L = R + lmbda * 255^2 * (MSE + beta * adversarial), the transforms
    those of `cnn_ae`, of which the decoder is the generator. The paper gives neither weights nor sizes. The codec and
    the discriminator take a step each on every batch. The discriminator is no part of the codec, and validations are
    without its term, whose level moves with it: the best weights are those with the least R + lmbda * 255^2 * MSE. A
    fine-tune trains a new one.

    beta: weight of the adversarial term; 0 is an autoencoder. D: channels of the discriminator's first convolution.
    """

    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "lmbda", "L = bits per pixel + lmbda * 255^2 * (MSE on [0, 1] + beta * adversarial)", raises_rate=True
    )

    def __init__(self, N: int, M: int, beta: float, D: int, gain_range: float) -> None:
        if beta < 0:
            raise RatewrightError(f"{self.name}: beta is at least 0, not {beta}")
        super().__init__(N, M, gain_range, beta=beta, D=D)
        self.beta = beta
        self._adversary = (self.adversary(D),)  # in a tuple, or it would be a part of the codec

    @abstractmethod
    def adversary(self, channels: int) -> GanDiscriminator:
        """A new one."""

    def discriminators(self) -> tuple[Discriminator, ...]:
        """The discriminator, unless nothing depends on it."""
        return self._adversary if self.beta > 0 else ()

    def loss(self, x: Tensor, reconstruction: Reconstruction, lmbda: float) -> Loss:
        """In training with the adversarial term, which its parts leave out."""
        loss = super().loss(x, reconstruction, lmbda)
        if not self.training or self.beta == 0:
            return loss
        (adversary,) = self._adversary
        generator_loss = adversary.to(x.device).generator_loss(reconstruction.x_hat)
        if reconstruction.weight is not None:
            generator_loss = generator_loss * reconstruction.weight
        with_it = loss.distortion + self.beta * 255**2 * generator_loss.mean()
        return loss._replace(total=self.objective(with_it, loss.rate, lmbda))
