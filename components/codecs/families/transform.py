"""Transform coding: analysis, an entropy model of the latents, synthesis."""

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from components.codecs.base import Codec, Scalar
from components.codecs.rate_parameter import RateParameter
from components.codecs.tensors import Reconstruction
from components.entropy.relaxation import EntropyOutput


class EntropyModel(Protocol):
    """What gives latents y (B, C, h, w) their rate, and one picture's their bytes."""

    def __call__(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """The quantised latents and their bits; in evaluation, with steps of 1 / gain."""

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Sections of y (1, C, h, w), quantised with steps of 1 / gain."""

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The quantised latents (1, C, h, w), the same on every machine. Raises BitstreamError."""


class TransformCodec(Codec):
    """
        x --2x-1--> g_a --> * latent_scale --> y --entropy--> bytes
        x_hat <--(+1)/2-- g_s <-- / latent_scale <-- y_hat <-- bytes

    A subclass gives the transforms on [-1, 1], `g_a` from (B, 3, H, W) to (B, C, H/s, W/s) with s =
    `latent_stride` and `g_s` back, and the entropy model of the `latent_channels` C. Transforms make values of about
    1; latents are `latent_scale` times larger, so that a quantiser step of 1 starts as a fine one and training has
    only to give up what is not worth its bits.
    """

    latent_scale: ClassVar[float] = 8.0

    latent_channels: int
    g_a: nn.Module
    g_s: nn.Module
    entropy: EntropyModel

    def forward(self, x: Tensor) -> Reconstruction:
        """(B, 3, H, W) to the reconstruction and the estimated bits of the latents."""
        # In evaluation, what `compress` would make of it.
        estimate = self.entropy(self.analyse(x), 1.0 if self.training else self.gain.item())
        x_hat = self.synthesise(estimate.y_hat)
        if estimate.log_gain is None:
            return Reconstruction(x_hat, estimate.bits)
        # Each image stands for a rate of its own; all of its loss is over that rate, so that no rate leads.
        share = (-RATE_OVER_GAIN * estimate.log_gain).exp()
        return Reconstruction(x_hat, share * estimate.bits, share * (GAIN_TO_WEIGHT * estimate.log_gain).exp())

    def analyse(self, x: Tensor) -> Tensor:
        """The latents y before quantisation."""
        code: Tensor = self.g_a(2 * x - 1)
        return self.latent_scale * code

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Quantised latents to the picture: the inverse of `analyse` as far as there is one."""
        x_hat: Tensor = self.g_s(y_hat / self.latent_scale)
        return (x_hat.float() + 1) / 2

    def latent_maps(self, x: Tensor) -> dict[str, Tensor]:
        """`bits`: bits per pixel at each position, at the codec's own gain, by the estimate of training."""
        latents = self.latents(x)
        with torch.inference_mode():
            return {"bits": self.entropy(latents, self.gain.item()).position_bits[0] / self.latent_stride**2}

    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:
        """What the entropy model makes of the latents."""
        return self.entropy.encode(latents, gain)

    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """The quantised latents that the sections hold."""
        shape = (self.latent_channels, height // self.latent_stride, width // self.latent_stride)
        return self.entropy.decode(sections, shape)


# Quantised with steps of 1 / gain, a codec is at its best where distortion weighs gain^2 as much (high-rate theory:
# distortion grows with the square of the step while the rate falls by a constant).
GAIN_TO_WEIGHT = 2.0
RATE_OVER_GAIN = 0.9  # the slope of the logarithms, as measured around 0.15 bpp


class LearnedPriorCodec(TransformCodec):
    """A transform codec whose loss is L = R + lmbda * 255^2 * MSE, R in bits per pixel, MSE on [0, 1] (paper 001)."""

    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "lmbda", "L = bits per pixel + lmbda * 255^2 * MSE on [0, 1]", raises_rate=True
    )
    stride = 64
    latent_stride = 16

    def distortions(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """The distortion of each picture (B,), in units of the MSE."""
        return (x - x_hat).square().mean(dim=(1, 2, 3))

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """255^2 * the mean of the errors, and bits per pixel."""
        error = self.distortions(x, reconstruction.x_hat)
        if reconstruction.weight is not None:
            error = error * reconstruction.weight
        return 255**2 * error.mean(), reconstruction.bits.mean() / x[0, 0].numel()

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:
        """R + lmbda D."""
        return rate + lmbda * distortion
