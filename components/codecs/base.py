"""What every codec is: an nn.Module that estimates its rate in training and codes pictures to real bytes."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.arrays import Rgb
from components.codecs import bitstream
from components.codecs.discriminator import Discriminator
from components.codecs.tiling import in_tiles
from components.errors import BitstreamError, RatewrightError

T = TypeVar("T", float, Tensor)

Weights = Callable[[nn.Module], None]
"""Copies published weights into a module of their architecture; raises CheckpointError where they do not fit."""


def to_tensor(rgb: Rgb) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255


def to_rgb(x: Tensor) -> Rgb:
    """(1, 3, H, W) in [0, 1] to (H, W, 3) uint8, rounded."""
    rgb: Rgb = (x[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return rgb


class Reconstruction(NamedTuple):
    """A training step's result: `x_hat` (B, 3, H, W) in about [0, 1], and estimated `bits` (B,) of each image.

    `weight` (B,), where there is one, is what the distortion of each image counts for: a codec that serves a
    range of rates lets the images of a batch stand for different ones.
    """

    x_hat: Tensor
    bits: Tensor
    weight: Tensor | None = None


class Loss(NamedTuple):
    """`total` is what training descends; `distortion` and `rate` are its parts in the paper's own units."""

    total: Tensor
    distortion: Tensor
    rate: Tensor


@dataclass(frozen=True)
class RateParameter:
    """What moves a codec's rate.

    name: the rate parameter in the field's words, such as "lmbda".
    loss: the loss it stands in, in one line.
    raises_rate: whether a larger value gives more bits.
    steers: whether training is steered by it; a bit depth, say, is chosen after training.
    """

    name: str
    loss: str
    raises_rate: bool
    steers: bool = True


class Codec(nn.Module, ABC):
    """A picture codec. Tensors are (B, 3, H, W) float32 RGB in [0, 1]; every size from 1x1 up works.

    A subclass says its `name` (as in the table of codecs), its `rate_parameter` (None for a lossless codec), the
    `stride` that pictures are padded to a multiple of, the `latent_stride` that its latents are coarser by, and
    how one padded picture becomes sections and back. Pictures of more than `tile` pixels a side go through the
    transforms in tiles that overlap by `halo` on every side, so that memory does not grow with the picture.
    """

    name: ClassVar[str]
    rate_parameter: ClassVar[RateParameter | None]
    stride: int
    latent_stride: int
    tile: ClassVar[int] = 1536
    halo: ClassVar[int] = 128
    progressive: ClassVar[bool] = False
    """Whether any first bytes of a stream are a picture, so that streams are cut to a rate instead of made for it."""

    reported: ClassVar[str] = ""
    """What its paper reports, in a few words."""
    pretrained: ClassVar[tuple[str, ...]] = ()
    """Published networks whose weights a training may start with."""
    loss_networks: ClassVar[tuple[str, ...]] = ()
    """Those of them that are no part of the codec, and that every further training needs again."""

    gain: Tensor

    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters
        self.register_buffer("gain", torch.ones(()))
        self._hash_of: tuple[tuple[tuple[int, int], ...], bytes] | None = None

    @abstractmethod
    def forward(self, x: Tensor) -> Reconstruction:
        """Noisy in training mode, rounded otherwise; H and W are multiples of `stride`."""

    @abstractmethod
    def costs(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """Distortion and rate, means over the batch, in the units of the paper's loss."""

    @abstractmethod
    def objective(self, distortion: T, rate: T, lmbda: float) -> T:
        """The paper's loss of the two; `lmbda` is comparable within one codec only."""

    def loss(self, x: Tensor, reconstruction: Reconstruction, lmbda: float) -> Loss:
        """What a training step descends, and its parts."""
        distortion, rate = self.costs(x, reconstruction)
        return Loss(self.objective(distortion, rate, lmbda), distortion, rate)

    @abstractmethod
    def analyse(self, x: Tensor) -> Tensor:
        """A padded picture (1, 3, H, W) to the latents that the quantiser step acts on."""

    @abstractmethod
    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:
        """Quantise one picture's latents with steps of 1 / gain and code them to sections."""

    @abstractmethod
    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """Sections of a padded picture to its quantised latents (1, C, h, w), the same on every machine.

        Raises BitstreamError.
        """

    @abstractmethod
    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Quantised latents (B, C, h, w) to padded pictures (B, 3, H, W)."""

    @property
    def steered(self) -> bool:
        """Whether a lambda moves its rate in training."""
        return self.rate_parameter is not None and self.rate_parameter.steers

    @property
    def operating_points(self) -> tuple[range, ...]:
        """The gains that there are, where not any number is one: ranges over each of which the rate rises."""
        return ()

    def describe(self, gain: float) -> str:
        """A gain in words."""
        return f"gain {gain:.4f}"

    def start(self, weights: Mapping[str, Weights]) -> list[str]:
        """Take published weights, by name, before training; returns what the user should know.

        Raises RatewrightError for weights that the codec has no use for, and where some that it needs are missing.
        """
        if unknown := weights.keys() - set(self.pretrained):
            known = ", ".join(self.pretrained) or "none"
            raise RatewrightError(
                f"codec {self.name!r} takes no weights of {', '.join(sorted(unknown))}; it knows {known}"
            )
        return []

    def discriminators(self) -> tuple[Discriminator, ...]:
        """Networks that train with it, one step on each batch after its own."""
        return ()

    def latents(self, x: Tensor) -> Tensor:
        """What `pack` takes: the latents of one picture (1, 3, H, W) of any size."""
        with torch.inference_mode():
            return in_tiles(self.analyse, self.pad(x), 1 / self.latent_stride, self.tile, self.halo)

    def maps(self, x: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """What can be drawn over a picture (1, 3, H, W): figures for each position of its latents, (h, w), by name."""
        return {}

    def kmac_per_px(self) -> tuple[float, float] | None:
        """Thousands of multiply-accumulates per pixel of the encoder and of the decoder, where torch does not do them.

        None for a codec whose networks torch runs: there they are counted.
        """
        return None

    def compress(self, x: Tensor) -> list[bytes]:
        """One whole bitstream for each picture of (B, 3, H, W), quantised with the codec's own `gain`."""
        return [self.pack(self.latents(one), x.shape[-2:]) for one in torch.split(x, 1)]

    def pack(self, latents: Tensor, size: tuple[int, ...], gain: float | None = None) -> bytes:
        """The bitstream of one picture of `size` (H, W) from its latents; `gain` replaces the codec's own."""
        with torch.inference_mode():
            sections = self.encode(latents, self.gain.item() if gain is None else gain)
        whole = len(sections[0]) if self.progressive else None
        return bitstream.Bitstream(self.name, self.model_hash(), size[1], size[0], sections, whole).pack()

    def decompress(self, streams: list[bytes]) -> Tensor:
        """Bitstreams of pictures of one size to (B, 3, H, W), clamped to [0, 1].

        Raises BitstreamError for a stream of another model, and for truncated or corrupted ones.
        """
        return torch.cat([self._decompress_one(stream) for stream in streams])

    def unpack(self, stream: bytes) -> Tensor:
        """The quantised latents in a bitstream: what every machine agrees on. Raises BitstreamError."""
        return self._latents_in(self._opened(stream))

    def _opened(self, stream: bytes) -> bitstream.Bitstream:
        parsed = bitstream.parse(stream)
        if parsed.codec != self.name:
            raise BitstreamError(f"this stream was written by codec {parsed.codec!r}, not {self.name!r}")
        if parsed.model_hash != self.model_hash():
            raise BitstreamError(
                f"this stream was written by model {parsed.model_hash.hex()}, not {self.model_hash().hex()}"
            )
        return parsed

    def _latents_in(self, parsed: bitstream.Bitstream) -> Tensor:
        height, width = (-(-side // self.stride) * self.stride for side in (parsed.height, parsed.width))
        with torch.inference_mode():
            return self.decode(parsed.sections, height, width)

    def _decompress_one(self, stream: bytes) -> Tensor:
        parsed = self._opened(stream)
        y_hat = self._latents_in(parsed)
        tile, halo = self.tile // self.latent_stride, self.halo // self.latent_stride
        with torch.inference_mode():
            x_hat = in_tiles(self.synthesise, y_hat, self.latent_stride, tile, halo)
        if not x_hat.isfinite().all():
            raise BitstreamError("corrupted bitstream: its latents are too large to make a picture")
        return x_hat[..., : parsed.height, : parsed.width].float().clamp(0, 1)

    def pad(self, x: Tensor) -> Tensor:
        """Replicate the last row and column of (B, 3, H, W) up to multiples of `stride`."""
        bottom, right = (-side % self.stride for side in x.shape[-2:])
        return F.pad(x, (0, right, 0, bottom), mode="replicate")

    def train(self, mode: bool = True) -> Self:
        """As for any module; fused optimisers do not count what they change, so the hash is forgotten here."""
        self._hash_of = None
        return super().train(mode)

    def model_hash(self) -> bytes:
        """8 bytes that name the weights, tables and hyper-parameters; the gain, which streams carry, is left out."""
        state = {key: value for key, value in self.state_dict().items() if key != "gain"}
        versions = tuple((value.data_ptr(), value._version) for value in state.values())
        if self._hash_of is None or self._hash_of[0] != versions:
            digest = hashlib.sha256(json.dumps([self.name, self.hyperparameters], sort_keys=True).encode())
            for key in sorted(state):
                digest.update(key.encode())
                digest.update(state[key].detach().cpu().contiguous().numpy().tobytes())
            self._hash_of = versions, digest.digest()[: bitstream.MODEL_HASH_BYTES]
        return self._hash_of[1]
