"""The family of transform codecs: analysis transform, entropy model of the latents, synthesis transform."""

from itertools import count
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from ...entropy.refinement import RefinableEntropyModel, Relaxation, refine
from ...entropy.relaxation import EntropyOutput
from ...errors import RatewrightError
from ..base import Codec, Scalar
from ..effort import DEFAULT_EFFORT, STEPS, Progress
from ..rate_parameter import RateParameter
from ..tensors import Reconstruction
from ..tile_grid import number_of_tiles
from ..tiling import in_tiles


class EntropyModel(Protocol):
    """A probability model of latents y (B, C, h, w): their rate in training, and their bytes."""

    def __call__(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """Quantised latents and their bits. In training the gain is the model's own, in evaluation it is `gain`."""

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Quantise y (1, C, h, w) with steps of 1 / gain, and code it to sections."""

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The quantised latents (1, C, h, w), the same on every machine. Raises BitstreamError."""


@runtime_checkable
class HardEntropyModel(EntropyModel, Protocol):
    """An entropy model that can train on the latents of its own encoder."""

    def fix_encoder(self) -> None:
        """See Codec.fix_encoder."""


class TransformCodec(Codec):
    """A transform codec: transforms on [-1, 1] around an entropy model of the latents.

        x in [0, 1] --2x - 1--> g_a --* latent_scale--> y --entropy model--> y_hat, bits
        x_hat <--(x + 1) / 2-- g_s <--/ latent_scale-- y_hat

    A subclass gives `g_a` from (B, 3, H, W) to (B, C, H/s, W/s) with s = `latent_stride`, `g_s` back, and the entropy
    model of the C = `latent_channels` latents. Transforms give values of about 1. Latents are `latent_scale` times
    larger, so that a quantiser step of 1 is a fine one at first, and training only has to give up what is not worth
    its bits.
    """

    latent_scale: ClassVar[float] = 8.0

    latent_channels: int
    g_a: nn.Module
    """Analysis transform."""
    g_s: nn.Module
    """Synthesis transform."""
    entropy: EntropyModel

    def forward(self, x: Tensor) -> Reconstruction:
        """Reconstruct a batch and estimate its bits.

        In evaluation the gain is the codec's own, and the reconstruction is the one that the bitstream decodes to. In
        training the entropy model may draw a gain for each picture. Then the distortion of a picture is weighted by the
        square of its gain, and both its bits and its distortion are divided by the rate to expect, so that no rate
        dominates the loss.
        """
        output = self.entropy(self.analyse(x), 1.0 if self.training else self.gain.item())
        x_hat = self.synthesise(output.y_hat)
        if output.log_gain is None:
            return Reconstruction(x_hat, output.bits)
        per_rate = (-RATE_OVER_GAIN * output.log_gain).exp()
        weight = (GAIN_TO_WEIGHT * output.log_gain).exp()
        return Reconstruction(x_hat, per_rate * output.bits, per_rate * weight)

    def analyse(self, x: Tensor) -> Tensor:
        """Latents y before quantisation: (B, 3, H, W) to (B, C, h, w)."""
        code: Tensor = self.g_a(2 * x - 1)
        return self.latent_scale * code

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Quantised latents (B, C, h, w) to reconstructions (B, 3, H, W) in about [0, 1]."""
        x_hat: Tensor = self.g_s(y_hat / self.latent_scale)
        return (x_hat.float() + 1) / 2

    def latent_maps(self, x: Tensor) -> dict[str, Tensor]:
        """`bits`: estimated bits per pixel at each position of the latents, at the codec's own gain."""
        latents = self.latents(x)
        with torch.inference_mode():
            return {"bits": self.entropy(latents, self.gain.item()).position_bits[0] / self.latent_stride**2}

    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:
        """Sections of the entropy model."""
        return self.entropy.encode(latents, gain)

    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """Quantised latents (1, C, h, w) from sections of the entropy model. Raises BitstreamError."""
        shape = (self.latent_channels, height // self.latent_stride, width // self.latent_stride)
        return self.entropy.decode(sections, shape)


GAIN_TO_WEIGHT = 2.0
"""Exponent of the distortion's weight over the gain. At high rates distortion grows with the square of the step."""
RATE_OVER_GAIN = 0.9
"""Slope of log rate over log gain, measured around 0.15 bpp."""
GAIN_TO_SLOPE = 3.0
"""Exponent of the encoder's slope of rate over distortion over the gain, measured from gain 0.5 to 1."""


class LearnedPriorCodec(TransformCodec):
    """A transform codec with a learned prior of its latents.

    Training minimises

        L = R + lmbda * 255^2 * D

    with R the estimated rate in bits per pixel and D the mean squared error on [0, 1]. This is the loss of ATC (paper
    001; Fang et al. 2024) and of most learned codecs since Ballé et al. 2018. A subclass may add terms to D.
    """

    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "lmbda", "L = bits per pixel + lmbda * 255^2 * MSE on [0, 1]", raises_rate=True
    )
    stride = 64
    latent_stride = 16

    def distortions(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """The distortion D of each picture (B,), in units of the MSE on [0, 1]."""
        return (x - x_hat).square().mean(dim=(1, 2, 3))

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """255^2 * D and R, means over the batch."""
        error = self.distortions(x, reconstruction.x_hat)
        if reconstruction.weight is not None:
            error = error * reconstruction.weight
        return 255**2 * error.mean(), reconstruction.bits.mean() / x[0, 0].numel()

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:
        """L = R + lmbda * 255^2 * D, the distortion given with its factor."""
        return rate + lmbda * distortion

    def error_weight(self, gain: float) -> float | None:
        """lmbda at gain 1, and the slope of rate over distortion at others."""
        return None if self.trained_lmbda is None else self.trained_lmbda * gain**GAIN_TO_SLOPE

    def fix_encoder(self) -> None:
        """See Codec.fix_encoder; for entropy models that can do so."""
        if not isinstance(self.entropy, HardEntropyModel):
            super().fix_encoder()
            return
        self.g_a.requires_grad_(False)
        self.entropy.fix_encoder()

    def encode_at_effort(self, x: Tensor, gain: float, effort: int, on_progress: Progress) -> tuple[bytes, ...]:
        """Sections at effort 0 of rounded latents; above the default of refined ones, or of `encode` if L is less."""
        entropy = self.entropy
        if not isinstance(entropy, RefinableEntropyModel):
            return super().encode_at_effort(x, gain, effort, on_progress)
        y = self.latents(x)
        if effort not in STEPS:
            with torch.inference_mode():
                return entropy.encode_rounded(y, entropy.hyper_latents(y), gain)
        lmbda = self.error_weight(gain)
        if lmbda is None:
            raise RatewrightError(f"codec {self.name!r} has no lambda: efforts above {DEFAULT_EFFORT} need one")
        padded = self.pad(x)
        better_y, better_z = self._refined(entropy, padded, gain, lmbda, STEPS[effort], on_progress)
        with torch.inference_mode():
            candidates = (entropy.encode_refined(better_y, better_z, gain), self.encode(y, gain))
            return min(candidates, key=lambda sections: self._cost(padded, sections, lmbda))

    def _cost(self, padded: Tensor, sections: tuple[bytes, ...], lmbda: float) -> float:
        """L of a padded picture (1, 3, H, W) and the bytes that code it."""
        tile, halo = self.tile // self.latent_stride, self.halo // self.latent_stride
        y_hat = self.decode(sections, *padded.shape[-2:])
        x_hat = in_tiles(self.synthesise, y_hat, self.latent_stride, tile, halo)
        bits = padded.new_tensor([8.0 * sum(map(len, sections))])
        return self.loss(padded, Reconstruction(x_hat, bits), lmbda).total.item()

    def _refined(
        self,
        entropy: RefinableEntropyModel,
        padded: Tensor,
        gain: float,
        lmbda: float,
        steps: int,
        on_progress: Progress,
    ) -> tuple[Tensor, Tensor]:
        """Latents and hyper-latents of a padded picture (1, 3, H, W), refined on L."""
        done = count(1)
        blocks = self.stride // self.latent_stride  # positions of y to a side for each of z
        total = steps * number_of_tiles(padded.shape[-2], padded.shape[-1], self.tile, self.halo)

        def refined(tile: Tensor) -> Tensor:
            def loss(y: Tensor, z: Tensor, relax: Relaxation) -> Tensor:
                y_hat, bits = entropy.relaxed(y, z, gain, relax)
                with torch.autocast(tile.device.type, torch.bfloat16, enabled=_fast_in_bfloat16(tile.device)):
                    x_hat = self.synthesise(y_hat)
                return self.loss(tile, Reconstruction(x_hat, bits), lmbda).total

            y = self.analyse(tile)
            z = entropy.hyper_latents(y)
            y = entropy.near_decisions(y, z, gain)
            y, z = refine(y, z, loss, step_size=1 / gain, steps=steps, on_step=lambda: on_progress(next(done), total))
            return torch.cat((pixel_unshuffle(y, blocks), z), dim=1)

        with torch.no_grad():
            both = in_tiles(refined, padded, 1 / self.stride, self.tile, self.halo)
        channels = self.latent_channels * blocks**2
        return pixel_shuffle(both[:, :channels], blocks), both[:, channels:]


def _fast_in_bfloat16(device: torch.device) -> bool:
    """Whether convolutions are faster in bfloat16 than in float32."""
    return device.type != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))
