"""Between pictures and whole files: what encodes and decodes them, learned or classic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec, to_rgb, to_tensor
from components.codecs.bitstream import Bitstream, parse

_FINER_PLANES = 3


class Coder(Protocol):
    """Pictures (H, W, 3) uint8 to files and back."""

    def encode(self, rgb: Rgb) -> bytes:
        """The whole file."""

    def decode(self, data: bytes) -> Rgb:
        """The picture of a file."""


@dataclass(frozen=True)
class LearnedCoder:
    """A learned codec as a Coder; `gain` replaces the codec's own, `bpp` has every stream cut to that rate."""

    codec: Codec
    gain: float | None = None
    bpp: float | None = None

    def encode(self, rgb: Rgb) -> bytes:
        """One bitstream. Raises BitstreamError where one of `bpp` cannot be."""
        x = to_tensor(rgb).to(self.codec.gain.device)
        latents, size = self.codec.latents(x), x.shape[-2:]
        if self.bpp is None:
            return self.codec.pack(latents, size, self.gain)
        return stream_of(self.codec, latents, size, self.bpp).cut(bytes_at(self.bpp, size))

    def decode(self, data: bytes) -> Rgb:
        """Raises BitstreamError."""
        return to_rgb(self.codec.decompress([data]))


def stream_of(codec: Codec, latents: Tensor, size: Sequence[int], bpp: float) -> Bitstream:
    """The stream of a progressive codec with at least a rate, or with all that it can tell.

    Its planes are those of the codec's own gain, and as many finer ones as it takes.
    """
    for plane in range(_FINER_PLANES + 1):
        stream = codec.pack(latents, tuple(size), codec.gain.item() * 3**plane)
        if len(stream) >= bytes_at(bpp, size):
            break
    return parse(stream)


def bytes_at(bpp: float, size: Sequence[int]) -> int:
    """The largest file of a picture of `size` (height, width) that is within a rate."""
    return math.floor(bpp * size[0] * size[1] / 8)
