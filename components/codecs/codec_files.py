"""The codec of a file: a checkpoint, which takes torch, or an exported folder, which does not."""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Protocol

from ..arrays import Rgb
from ..errors import RatewrightError, one_line
from .effort import DEFAULT_EFFORT, Progress, no_progress
from .exported import ExportedCodec


class CodecInUse(Protocol):
    """What DeployedCodec and ExportedCodec have in common."""

    error: type[Exception]
    name: str
    model_hash: bytes
    progressive: bool
    gain: float
    operating_points: tuple[range, ...]

    def encode(
        self,
        rgb: Rgb,
        gain: float | None = None,
        bpp: float | None = None,
        effort: int = DEFAULT_EFFORT,
        on_progress: Progress = no_progress,
    ) -> bytes:
        """See DeployedCodec.encode."""

    def decode(self, stream: bytes) -> Rgb:
        """See DeployedCodec.decode."""


def open_codec(path: Path) -> CodecInUse:
    """The codec of a checkpoint file or of an exported folder. Raises CheckpointError."""
    if path.is_dir():
        return ExportedCodec(path)
    try:
        from .deployed import DeployedCodec
    except ModuleNotFoundError as error:
        raise RatewrightError(
            f"{path}: a checkpoint takes torch, which is not installed ({one_line(error)})"
        ) from error
    return DeployedCodec(path)


@dataclass(frozen=True)
class DeployedCoder:
    """A codec in use as a Coder.

    Attributes:
        codec: Of this package, or of a version's copy of it.
        gain: In place of the calibrated one; None for the calibrated one.
        bpp: Of a progressive codec, the rate of its streams in bits per pixel; None for whole streams.
        effort: Of the encoder; an older version knows none but the default.
        on_progress: Called with the steps that an encoding of effort 2 or more has done, and their number.
    """

    codec: CodecInUse
    gain: float | None = None
    bpp: float | None = None
    effort: int = DEFAULT_EFFORT
    on_progress: Progress = no_progress

    def encode(self, rgb: Rgb) -> bytes:
        """The bitstream of a picture. Raises RatewrightError, of this package."""
        further: dict[str, Any] = (
            {} if self.effort == DEFAULT_EFFORT else {"effort": self.effort, "on_progress": self.on_progress}
        )
        if further and "effort" not in signature(self.codec.encode).parameters:
            raise RatewrightError(f"this version of codec {self.codec.name!r} is older than efforts")
        try:
            return self.codec.encode(rgb, self.gain, self.bpp, **further)
        except self.codec.error as error:
            raise RatewrightError(str(error)) from error

    def decode(self, data: bytes) -> Rgb:
        """The picture in a bitstream. Raises RatewrightError, of this package."""
        try:
            return self.codec.decode(data)
        except self.codec.error as error:
            raise RatewrightError(str(error)) from error
