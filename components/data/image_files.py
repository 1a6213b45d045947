"""Decoding picture files to 8-bit RGB, and encoding RGB as PNG."""

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..arrays import Rgb
from ..errors import ImageError, one_line

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Formats that are decoded, by Pillow's names: raster formats only (its EPS reader would start Ghostscript)."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PLAIN_FORMATS = ("PNG", "JPEG", "WEBP")

# Exceptions that a hostile file makes Pillow's readers raise: they have no common base.
_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    SyntaxError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Decoded:
    """A decoded picture, and whether its file is plain."""

    rgb: Rgb
    """(H, W, 3), uint8."""
    plain: bool
    """True if the file itself is one upright 8-bit RGB picture in PNG, JPEG or WebP, without transparency."""


def decode_rgb(data: bytes, *, max_pixels: int = 1 << 28) -> Rgb:
    """The first picture of a file as (H, W, 3) uint8 RGB.

    Grey is repeated, palettes are resolved, alpha is dropped, 16-bit samples keep their 8 high bits, CMYK is
    converted without a profile, and the EXIF orientation is applied. Colour profiles are ignored.

    Args:
        data: the bytes of the file.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        ImageError: in one line, for a file that is no picture, truncated or with wrong checksums (PNG), samples without
            a known range (float, 32-bit), or more than `max_pixels` pixels.
    """
    return decode(data, max_pixels=max_pixels).rgb


def decode(data: bytes, *, max_pixels: int = 1 << 28) -> Decoded:
    """Decode as `decode_rgb` does, and find whether the file is plain."""
    try:
        with _without_pillow_limit():
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
        with picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise ImageError(f"{width}x{height} pixels are more than the {max_pixels} allowed")
            _refuse_misread(picture)
            if picture.format == "PNG":
                _refuse_wrong_checksums(data)
            plain = _is_plain(picture)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return Decoded(_to_rgb(upright, picture.format), plain)
    except UnidentifiedImageError:
        raise ImageError("not a picture in a known format") from None
    except _BROKEN as error:
        raise ImageError(f"cannot be decoded: {one_line(error)}") from error


def encode_png(rgb: Rgb) -> bytes:
    """A lossless PNG of (H, W, 3) uint8 RGB, the same bytes each time. Raises ImageError for other arrays."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError(f"a PNG needs (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, "PNG", compress_level=6)
    return out.getvalue()


_limit = threading.Lock()


@contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Lift Pillow's process-wide limit, which is lower than `max_pixels`, while a header is read."""
    with _limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _refuse_misread(picture: ImageFile.ImageFile) -> None:
    """Raise ImageError for a planar TIFF of more than 8 bits, which Pillow decodes to a wrong picture."""
    if picture.format != "TIFF":
        return
    tags = picture.tag_v2  # type: ignore[attr-defined]
    bits_per_sample, planar_configuration = tags.get(258, (1,)), tags.get(284, 1)
    if planar_configuration == 2 and max(bits_per_sample) > 8:
        raise ImageError("a planar TIFF of more than 8 bits is not supported; store it interleaved")


def _refuse_wrong_checksums(data: bytes) -> None:
    """Raise ImageError for a PNG with a wrong checksum of pixels, which Pillow does not compare."""
    view, position = memoryview(data), len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if kind == b"IDAT" and end + 4 <= len(data):  # Pillow refuses a file that is truncated here
            (checksum,) = struct.unpack_from(">I", data, end)
            if zlib.crc32(view[position + 4 : end]) != checksum:
                raise ImageError("the PNG is corrupted: the checksum of its pixels does not match")
        position = end + 4


def _is_plain(picture: ImageFile.ImageFile) -> bool:
    return (
        picture.format in _PLAIN_FORMATS
        and picture.mode == "RGB"
        and not any("16" in str(tile.args) for tile in picture.tile if picture.format == "PNG")
        and "transparency" not in picture.info
        and picture.getexif().get(0x0112, 1) == 1
        and getattr(picture, "n_frames", 1) == 1
    )


def _to_rgb(picture: Image.Image, source_format: str | None) -> Rgb:
    if picture.mode.startswith("I;16") or (picture.mode == "I" and source_format == "PPM"):
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise ImageError("32-bit samples have no known range")
    if picture.mode == "RGBa":
        picture = picture.convert("RGBA")
    return np.array(picture.convert("RGB"), dtype=np.uint8)
