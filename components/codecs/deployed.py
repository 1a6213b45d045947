"""The interface of a trained codec in use, which every registered version keeps with its own copy of this package."""

from pathlib import Path

from ..arrays import Rgb
from ..errors import RatewrightError
from .checkpoint import load
from .coder import LearnedCoder
from .effort import DEFAULT_EFFORT, Progress, no_progress


class DeployedCodec:
    """The codec of a checkpoint.

    Later programs use the codecs of earlier versions through these names: they may become more, but never change.

    Args:
        checkpoint: The .safetensors file, which is not needed afterwards.

    Attributes:
        name: As in the table of codecs.
        model_hash: 8 bytes that identify weights and hyper-parameters, as in the header of a stream.
        progressive: Whether `encode` takes a rate.
        gain: The calibrated one.
        operating_points: The gains that exist, for a codec with a finite number of rates; else empty.
        error: The class of all errors that a bad stream, picture or checkpoint raises, with a message of one line.
    """

    error: type[Exception] = RatewrightError

    def __init__(self, checkpoint: Path):
        self._codec, _ = load(checkpoint)
        self.name = self._codec.name
        self.model_hash = self._codec.model_hash()
        self.progressive = self._codec.progressive
        self.gain = self._codec.gain.item()
        self.operating_points = self._codec.operating_points

    def encode(
        self,
        rgb: Rgb,
        gain: float | None = None,
        bpp: float | None = None,
        effort: int = DEFAULT_EFFORT,
        on_progress: Progress = no_progress,
    ) -> bytes:
        """The bitstream of a picture.

        Args:
            rgb: (H, W, 3) uint8.
            gain: In place of the calibrated one.
            bpp: Of a progressive codec, the rate that the stream is truncated to, in bits per pixel.
            effort: 0 to 9; from 2 on the encoder refines the latents by gradient, which takes 2 to 200 s for a million
                pixels. Files are decoded in the same way.
            on_progress: Called with the steps that an encoding of effort 2 or more has done, and their number.

        Raises:
            RatewrightError: The codec has no such effort.
        """
        return LearnedCoder(self._codec, gain, bpp, effort, on_progress).encode(rgb)

    def decode(self, stream: bytes) -> Rgb:
        """The picture (H, W, 3) uint8 in a bitstream."""
        return LearnedCoder(self._codec).decode(stream)
