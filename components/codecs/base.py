"""The base class of every learned codec: an nn.Module that estimates its rate in training and codes to real bytes."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import BitstreamError, RatewrightError
from . import bitstream
from .bitstream import Bitstream
from .discriminator import Discriminator
from .effort import DEFAULT_EFFORT, Progress, check_effort, no_progress
from .palette import PALETTE_SECTIONS, decode_palette
from .rate_parameter import RateParameter
from .tensors import Loss, Reconstruction, to_tensor
from .tiling import in_tiles

Scalar = TypeVar("Scalar", float, Tensor)

WeightLoader = Callable[[nn.Module], None]
"""Copies published weights into a module of their architecture; raises CheckpointError where they do not fit."""


class Codec(nn.Module, ABC):
    """A learned image codec. Pictures are (B, 3, H, W) float32 RGB in [0, 1]; every size from 1x1 up works.

        x --pad--> analyse --> latents --encode, steps of 1 / gain--> sections --> bitstream
        x_hat <--crop-- synthesise <-- y_hat <--decode-- sections <-- bitstream

    Training minimises the loss of the codec's paper. The usual forms are

        L = R + lambda * D    or    J = D + lambda * R

    with R the estimated rate and D the distortion. Units and direction differ from paper to paper, so a lambda
    compares within one codec only. `rate_parameter.loss_equation` states the form.

    A subclass gives the class attributes below, and how one padded picture becomes sections and back. Pictures of more
    than `tile` pixels a side go through the transforms in overlapping tiles, so that memory is bounded.
    """

    name: ClassVar[str]
    """As in the table of codecs."""
    rate_parameter: ClassVar[RateParameter | None]
    """The parameter that sets the rate; None for a lossless codec."""
    stride: int
    """Pictures are padded to a multiple of this many pixels."""
    latent_stride: int
    """Pixels a side for each position of the latents."""
    tile: int = 1536
    """Side of a tile, in pixels."""
    halo: ClassVar[int] = 128
    """Overlap of a tile with each neighbour, in pixels."""
    progressive: ClassVar[bool] = False
    """Whether every prefix of a stream decodes to a picture, so that truncation sets the rate."""
    palettes: ClassVar[bool] = False
    """Whether a drawing may be coded with a palette instead of latents (components.codecs.palette)."""
    paper_results: ClassVar[str] = ""
    """The figures that the codec's paper reports, in a few words."""
    pretrained: ClassVar[tuple[str, ...]] = ()
    """Names of the published networks whose weights a training may load."""
    loss_networks: ClassVar[tuple[str, ...]] = ()
    """Those of `pretrained` that only the loss uses. They are not in checkpoints: every further training loads them."""

    trained_lmbda: float | None = None
    """The lambda that the weights were trained with, where that is known."""

    gain: Tensor
    """One over the quantiser's step; for a codec with operating points, the number of one. Stored in checkpoints."""

    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters
        self.register_buffer("gain", torch.ones(()))
        self._cached_hash: tuple[tuple[tuple[int, int], ...], bytes] | None = None

    # Training

    @abstractmethod
    def forward(self, x: Tensor) -> Reconstruction:
        """Reconstruct a batch whose H and W are multiples of `stride`.

        In training mode quantisation is replaced by noise, so that it has a gradient; otherwise latents are rounded.
        """

    @abstractmethod
    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """D and R of the paper's loss: scalars, means over the batch, in the paper's units."""

    @abstractmethod
    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:
        """The paper's loss as a function of its distortion and its rate."""

    def loss(self, x: Tensor, reconstruction: Reconstruction, lmbda: float) -> Loss:
        """The training loss of a batch and its parts."""
        distortion, rate = self.distortion_and_rate(x, reconstruction)
        return Loss(self.objective(distortion, rate, lmbda), distortion, rate)

    def discriminators(self) -> tuple[Discriminator, ...]:
        """Networks that train against the codec, one step each after every step of the codec."""
        return ()

    def fix_encoder(self) -> None:
        """Keep the analysis transforms in further training, and quantise there as `encode` does.

        Raises RatewrightError for a codec that does not train so.
        """
        raise RatewrightError(f"codec {self.name!r} has no training with quantisation: hard")

    def load_pretrained(self, loaders: Mapping[str, WeightLoader]) -> list[str]:
        """Load published weights before training.

        Args:
            loaders: functions that load the weights, by the names in `pretrained`.

        Returns:
            Remarks for the user, such as that an encoder starts from random weights.

        Raises:
            RatewrightError: weights that the codec does not use, or missing ones that it needs.
            CheckpointError: weights that do not fit the codec's network.
        """
        if unknown := loaders.keys() - set(self.pretrained):
            known = ", ".join(self.pretrained) or "none"
            raise RatewrightError(
                f"codec {self.name!r} takes no weights of {', '.join(sorted(unknown))}; it knows {known}"
            )
        return []

    @property
    def has_lambda(self) -> bool:
        """Whether a lambda sets the codec's rate in training."""
        return self.rate_parameter is not None and self.rate_parameter.set_in_training

    # Coding of one padded picture

    @abstractmethod
    def analyse(self, x: Tensor) -> Tensor:
        """The analysis transform g_a: a padded picture (1, 3, H, W) to latents before quantisation."""

    @abstractmethod
    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:
        """Quantise the latents of one picture with steps of 1 / gain, and entropy-code them to sections."""

    @abstractmethod
    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """Entropy-decode the quantised latents (1, C, h, w) of a padded picture, the same on every machine.

        Raises BitstreamError.
        """

    @abstractmethod
    def synthesise(self, y_hat: Tensor) -> Tensor:
        """The synthesis transform g_s: quantised latents (B, C, h, w) to padded pictures (B, 3, H, W)."""

    # Coding of pictures of any size

    def latents(self, x: Tensor) -> Tensor:
        """The latents of one picture (1, 3, H, W), before quantisation.

        Raises BitstreamError, before the transform runs, for a picture that is too large for a stream.
        """
        bitstream.check_size(x.shape[-1], x.shape[-2])
        with torch.inference_mode():
            return in_tiles(self.analyse, self.pad(x), 1 / self.latent_stride, self.tile, self.halo)

    def pack(self, latents: Tensor, size: tuple[int, ...], gain: float | None = None) -> bytes:
        """Code the latents of one picture to a bitstream.

        Args:
            latents: from `latents`.
            size: the picture's (height, width).
            gain: in place of the codec's own.
        """
        with torch.inference_mode():
            return self._packed(self.encode(latents, self.gain.item() if gain is None else gain), size)

    def error_weight(self, gain: float) -> float | None:  # noqa: ARG002
        """Bits per pixel that a squared error of 1, of values from 0 to 255, is worth at a gain; None if unknown."""
        return None

    def compress_at_effort(
        self, x: Tensor, effort: int, gain: float | None = None, on_progress: Progress = no_progress
    ) -> bytes:
        """Code one picture with more or less work of the encoder. The decoder is the same.

        Args:
            x: (1, 3, H, W).
            effort: of EFFORTS; DEFAULT_EFFORT gives the bitstream of `compress`.
            gain: in place of the codec's own.
            on_progress: called with the steps done and all steps, where there are any.

        Raises:
            RatewrightError: the codec's encoder has no such choice, or the effort does not exist.
        """
        check_effort(effort)
        if effort == DEFAULT_EFFORT:
            return self.pack(self.latents(x), x.shape[-2:], gain)
        sections = self.encode_at_effort(x, self.gain.item() if gain is None else gain, effort, on_progress)
        return self._packed(sections, x.shape[-2:])

    def encode_at_effort(self, x: Tensor, gain: float, effort: int, on_progress: Progress) -> tuple[bytes, ...]:  # noqa: ARG002
        """The sections of `compress_at_effort`, for an effort that is not the default. Raises RatewrightError."""
        raise RatewrightError(f"codec {self.name!r} has no efforts: its encoder decides nothing")

    def _packed(self, sections: tuple[bytes, ...], size: Sequence[int]) -> bytes:
        full_length = len(sections[0]) if self.progressive else None
        return Bitstream(self.name, self.model_hash(), size[1], size[0], sections, full_length).pack()

    def unpack(self, stream: bytes | Bitstream) -> Tensor:
        """The quantised latents in a bitstream, equal on every machine. Raises BitstreamError."""
        return self._decode_latents(self._parse(stream))

    def compress(self, x: Tensor) -> list[bytes]:
        """One bitstream for each picture of (B, 3, H, W), quantised with the codec's own gain."""
        return [self.pack(self.latents(one), x.shape[-2:]) for one in torch.split(x, 1)]

    def decompress(self, streams: Sequence[bytes | Bitstream]) -> Tensor:
        """Decode bitstreams of pictures of one size, raw or parsed, to (B, 3, H, W) in [0, 1].

        Raises BitstreamError for a stream of another model, and for a truncated or corrupted one. All headers, with
        the sizes that they claim, are checked before the first network runs.
        """
        return torch.cat([self._decompress_one(stream) for stream in [self._parse(one) for one in streams]])

    def pad(self, x: Tensor) -> Tensor:
        """Replicate the last row and column of (B, 3, H, W) up to multiples of `stride`."""
        bottom, right = (-side % self.stride for side in x.shape[-2:])
        return F.pad(x, (0, right, 0, bottom), mode="replicate")

    def _parse(self, stream: bytes | Bitstream) -> Bitstream:
        parsed = stream if isinstance(stream, Bitstream) else bitstream.parse(stream)
        if parsed.codec != self.name:
            raise BitstreamError(f"this stream was written by codec {parsed.codec!r}, not {self.name!r}")
        if parsed.model_hash != self.model_hash():
            raise BitstreamError(
                f"this stream was written by model {parsed.model_hash.hex()}, not {self.model_hash().hex()}"
            )
        return parsed

    def _decode_latents(self, stream: Bitstream) -> Tensor:
        if self.palettes and len(stream.sections) == PALETTE_SECTIONS:
            raise BitstreamError("this stream holds a palette and no latents")
        height, width = (-(-side // self.stride) * self.stride for side in (stream.height, stream.width))
        with torch.inference_mode():
            return self.decode(stream.sections, height, width)

    def _decompress_one(self, stream: Bitstream) -> Tensor:
        if self.palettes and len(stream.sections) == PALETTE_SECTIONS:
            return to_tensor(decode_palette(stream.sections, stream.height, stream.width)).to(self.gain.device)
        y_hat = self._decode_latents(stream)
        tile, halo = self.tile // self.latent_stride, self.halo // self.latent_stride
        with torch.inference_mode():
            x_hat = in_tiles(self.synthesise, y_hat, self.latent_stride, tile, halo)
        if not x_hat.sum().isfinite():
            raise BitstreamError("corrupted bitstream: its latents are too large to make a picture")
        return x_hat[..., : stream.height, : stream.width].float().clamp(0, 1)

    # Description

    @property
    def operating_points(self) -> tuple[range, ...]:
        """The gains that exist, for a codec with a finite number of rates: the rate rises over each range.

        Empty for a codec with a quantiser step, whose gain may be any positive number.
        """
        return ()

    def describe(self, gain: float) -> str:
        """The operating point of a gain in words."""
        return f"gain {gain:.4f}"

    def latent_maps(self, x: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Figures of each position of a picture's latents, such as its bits, by name: (h, w) for x (1, 3, H, W)."""
        return {}

    def kmac_per_px(self) -> tuple[float, float] | None:
        """Thousands of multiply-accumulates per pixel of encoder and decoder; None where torch's counter sees them."""
        return None

    def model_hash(self) -> bytes:
        """8 bytes that identify the weights, tables and hyper-parameters. Streams carry the gain, so it is left out."""
        state = {key: value for key, value in self.state_dict().items() if key != "gain"}
        versions = tuple((value.data_ptr(), value._version) for value in state.values())
        if self._cached_hash is None or self._cached_hash[0] != versions:
            digest = hashlib.sha256(json.dumps([self.name, self.hyperparameters], sort_keys=True).encode())
            for key in sorted(state):
                digest.update(key.encode())
                digest.update(state[key].detach().cpu().contiguous().numpy().tobytes())
            self._cached_hash = versions, digest.digest()[: bitstream.MODEL_HASH_BYTES]
        return self._cached_hash[1]

    def train(self, mode: bool = True) -> Self:
        """As for any module. It forgets the cached hash: fused optimisers change weights without a new version."""
        self._cached_hash = None
        return super().train(mode)
