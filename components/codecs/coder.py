"""Coders: pictures to whole files and back, by a learned or a classic codec."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor

from ..arrays import Rgb
from . import palette
from .base import Codec
from .bitstream import Bitstream, byte_budget, stream_of_at_least
from .effort import DEFAULT_EFFORT, Progress, no_progress
from .palette import Drawing, drawing
from .tensors import to_rgb, to_tensor


class Coder(Protocol):
    """Pictures (H, W, 3) uint8 to files and back."""

    def encode(self, rgb: Rgb) -> bytes:
        """The whole file of a picture."""

    def decode(self, data: bytes) -> Rgb:
        """The picture in a file."""


@dataclass(frozen=True)
class LearnedCoder:
    """A learned codec as a Coder.

    Attributes:
        codec: in evaluation mode.
        gain: in place of the codec's own; None for the codec's own.
        bpp: of a progressive codec, the rate that streams are truncated to, in bits per pixel; None for whole streams.
        effort: of the encoder, see `effort`.
        on_progress: called with the steps that an encoding at a high effort has done, and their number.
    """

    codec: Codec
    gain: float | None = None
    bpp: float | None = None
    effort: int = DEFAULT_EFFORT
    on_progress: Progress = no_progress

    def encode(self, rgb: Rgb) -> bytes:
        """The bitstream of a picture. Raises BitstreamError where no stream of rate `bpp` exists."""
        x = to_tensor(rgb).to(self.codec.gain.device)
        if self.bpp is None:
            stream = self.codec.compress_at_effort(x, self.effort, self.gain, self.on_progress)
            return cheaper_stream(self.codec, stream, drawing_for(self.codec, rgb), self.gain)
        latents, size = self.codec.latents(x), x.shape[-2:]
        return progressive_stream(self.codec, latents, size, self.bpp).truncate(byte_budget(self.bpp, size))

    def decode(self, data: bytes | Bitstream) -> Rgb:
        """The picture in a bitstream, raw or already parsed. Raises BitstreamError."""
        return to_rgb(self.codec.decompress([data]))


def drawing_for(codec: Codec, rgb: Rgb) -> Drawing | None:
    """A picture as a drawing; None for a photograph, and for a codec without palettes."""
    return drawing(rgb) if codec.palettes else None


def cheaper_stream(codec: Codec, stream: bytes, drawn: Drawing | None, gain: float | None = None) -> bytes:
    """The stream of a picture with a palette, if that has the lower cost, otherwise the one with latents.

    Args:
        codec: in evaluation mode.
        stream: of the picture, with latents.
        drawn: the picture, if it is a drawing.
        gain: that `stream` was made with; None for the codec's own.
    """
    error_weight = codec.error_weight(codec.gain.item() if gain is None else gain)
    return palette.cheaper_stream(stream, drawn, error_weight, lambda data: to_rgb(codec.decompress([data])))


def progressive_stream(codec: Codec, latents: Tensor, size: Sequence[int], bpp: float) -> Bitstream:
    """The stream of a progressive codec that reaches at least a rate, to be truncated to that rate.

    Args:
        codec: a progressive codec.
        latents: of one picture, from `Codec.latents`.
        size: the picture's (height, width).
        bpp: the rate in bits per pixel.
    """
    pack = partial(codec.pack, latents, tuple(size))
    return stream_of_at_least(byte_budget(bpp, size), pack, codec.gain.item())
