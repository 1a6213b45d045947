"""What a worker does for a request: the one place of the service that looks into pictures and bitstreams."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, UnidentifiedImageError

from ..arrays import Rgb
from ..codecs.bitstream import MAGIC, MAX_PIXELS, parse
from ..codecs.codec_files import CodecInUse, DeployedCoder
from ..data.image_files import FORMATS, decode_rgb, encode_png
from ..errors import ImageError, RatewrightError
from .refusal import Refusal

Facts = dict[str, Any]


@dataclass(frozen=True)
class Loaded:
    """A version in use."""

    label: str
    codec: CodecInUse

    def facts(self) -> Facts:
        """What answers say of it."""
        return {"codec": self.codec.name, "model": self.codec.model_hash.hex(), "version": self.label}


class Work:
    """Compression with the current version, and decompression with whichever of the versions wrote the stream.

    Args:
        versions: The current one first.
        pixels: Of the largest picture.
    """

    def __init__(self, versions: list[Loaded], pixels: int):
        self.current, self._pixels = versions[0], min(pixels, MAX_PIXELS)
        self._writers = {version.codec.model_hash: version for version in reversed(versions)}

    def compress(self, data: bytes, options: Mapping[str, Any]) -> tuple[Facts, bytes]:
        """The stream of a picture file. Raises Refusal."""
        rgb = self._picture(data)
        try:
            stream = DeployedCoder(self.current.codec, effort=options["effort"]).encode(rgb)
        except RatewrightError as error:
            raise Refusal(422, str(error)) from error
        return _facts(self.current, rgb.shape[1], rgb.shape[0], len(stream)), stream

    def decompress(self, data: bytes, options: Mapping[str, Any]) -> tuple[Facts, bytes]:
        """The picture file of a stream. Raises Refusal."""
        if not data.startswith(MAGIC):
            raise Refusal(415, "not a Ratewright bitstream")
        try:
            stream = parse(data)
            if stream.width * stream.height > self._pixels:
                raise Refusal(413, f"{stream.width}x{stream.height} pixels are more than the {self._pixels} allowed")
            writer = self._writers.get(stream.model_hash)
            if writer is None:
                held = ", ".join(sorted(known.hex() for known in self._writers))
                written = f"{stream.codec} model {stream.model_hash.hex()}"
                raise Refusal(409, f"the stream was written by {written}; this service holds {held}")
            rgb = DeployedCoder(writer.codec).decode(data)
        except RatewrightError as error:
            raise Refusal(422, str(error)) from error
        return _facts(writer, stream.width, stream.height, len(data)), _FILES[options["format"]](rgb)

    def _picture(self, data: bytes) -> Rgb:
        try:
            return decode_rgb(data, max_pixels=self._pixels)
        except ImageError as error:
            raise Refusal(self._status(error, data), str(error)) from error

    def _status(self, error: ImageError, data: bytes) -> int:
        """Whether a file is no picture, too large a picture, or a broken one."""
        if isinstance(error.__context__, UnidentifiedImageError):
            return 415
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__
        if error.__cause__ is not None:  # a reader failed
            return 422
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:  # it has been opened already
            return 413 if picture.width * picture.height > self._pixels else 422


def _facts(version: Loaded, width: int, height: int, size: int) -> Facts:
    return {**version.facts(), "width": width, "height": height, "bpp": 8 * size / (width * height)}


def _ppm(rgb: Rgb) -> bytes:
    return b"P6 %d %d 255\n" % (rgb.shape[1], rgb.shape[0]) + rgb.tobytes()


_FILES = {"png": encode_png, "ppm": _ppm}
