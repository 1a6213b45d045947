"""The classic lossless codecs that learned ones are compared with, at their smallest files within sensible time.

A picture is `rgb_HWC`: uint8, shape (H, W, 3), sRGB. Every size from 1x1 up is coded without a change. Every bitstream
is a whole file, headers included, without metadata. The settings were chosen by the bytes of Kodak pictures.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...arrays import Rgb
from .libraries import (
    checked_encode,
    imagecodecs_decode,
    imagecodecs_version,
    jpegxl_decode,
    pillow_decoder,
    pillow_encode,
    pillow_version,
)


@dataclass(frozen=True)
class Lossless:
    """A classic lossless codec. It is a `Coder`.

    Attributes:
        name: as in the params.
        settings: in words, for a report.
        encoder: a picture to a file.
        decoder: a file to a picture.
        library: gives the libraries behind the codec, with their versions.
    """

    name: str
    settings: str
    encoder: Callable[[Rgb], bytes]
    decoder: Callable[[bytes], Rgb]
    library: Callable[[], str]

    @property
    def version(self) -> str:
        """The libraries behind the codec, with their versions."""
        return self.library()

    def encode(self, rgb_HWC: Rgb) -> bytes:
        """The file of a uint8 (H, W, 3) picture; raises `ImageError` for a picture the codec does not take."""
        return checked_encode(self.name, self.encoder, rgb_HWC)

    def decode(self, data: bytes) -> Rgb:
        """The uint8 (H, W, 3) picture in a file; raises `BitstreamError` for a bad file."""
        return self.decoder(data)


_PNG_FILTERS = (0x10, 0x20, 0x40, 0x80, 0xF8)
"""libpng's filter masks: Sub, Up, Average or Paeth for all rows, or the best of all for each row."""


def _png_encode(rgb_HWC: Rgb) -> bytes:
    import imagecodecs

    return min((bytes(imagecodecs.png_encode(rgb_HWC, level=9, filter=mask)) for mask in _PNG_FILTERS), key=len)


def _decorrelated(rgb_HWC: Rgb) -> Rgb:
    """Hewlett-Packard's second colour transform, modulo 256: G, R - G and B - (R + G) / 2, the latter two about 128."""
    red, green, blue = (rgb_HWC[..., channel].astype(np.int16) for channel in range(3))
    return np.stack([green, red - green + 128, blue - ((red + green) >> 1) + 128], axis=2).astype(np.uint8)


def _correlated(planes_HWC: Rgb) -> Rgb:
    """The inverse of `_decorrelated`."""
    green, red_less, blue_less = (planes_HWC[..., channel].astype(np.int16) for channel in range(3))
    red = (red_less + green - 128) & 255
    blue = blue_less + ((red + green) >> 1) - 128
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


_START, _END, _FRAME, _SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xf7", b"\xff\xda"
_LONGEST = 2**16 - 1  # pixels of a side in a frame header


def _jpegls_encode(rgb_HWC: Rgb) -> bytes:
    """A JPEG-LS file of three scans. Each component has contexts of its own; interleaved components would share them.

    CharLS writes three gray files, whose scans are put together under one frame header (T.87, Annex C).
    """
    import imagecodecs

    height, width = rgb_HWC.shape[:2]
    if max(height, width) > _LONGEST:
        raise ValueError(f"a side is longer than {_LONGEST} pixels")
    planes_HWC = _decorrelated(rgb_HWC)
    file = io.BytesIO()
    file.write(_START + _FRAME + bytes([0, 17, 8]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([3]))
    for component in (1, 2, 3):
        file.write(bytes([component, 0x11, 0]))
    for component in (1, 2, 3):
        gray = bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(planes_HWC[..., component - 1])))
        head = _SCAN + bytes([0, 8, 1])  # one component, whose number follows
        start = gray.index(head + bytes([1]))
        file.write(head + bytes([component]) + gray[start + len(head) + 1 : -len(_END)])
    file.write(_END)
    return file.getvalue()


def _jpegls_decode(data: bytes) -> Rgb:
    import imagecodecs

    return _correlated(imagecodecs_decode(lambda: imagecodecs.jpegls_decode(data), "JPEG-LS"))


def _jpeg2000_encode(rgb_HWC: Rgb) -> bytes:
    return pillow_encode(rgb_HWC, "JPEG2000", irreversible=False, mct=1, no_jp2=True, comment=" ")


def _webp_encode(rgb_HWC: Rgb) -> bytes:
    return pillow_encode(rgb_HWC, "WEBP", lossless=True, quality=75, method=6)


def _jpegxl_encode(rgb_HWC: Rgb) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(rgb_HWC, lossless=True, effort=7, numthreads=1))


_CODECS = (
    Lossless(
        name="png",
        settings="zlib level 9, the shortest file of five: Sub, Up, Average or Paeth on every row, or a filter "
        "chosen for each",
        encoder=_png_encode,
        decoder=pillow_decoder("PNG"),
        library=imagecodecs_version("png"),
    ),
    Lossless(
        name="jpegls",
        settings="near-lossless 0, after the reversible colour transform G, R - G, B - (R + G) / 2 modulo 256, "
        "which the decoder undoes; a scan for each component, no SPIFF header",
        encoder=_jpegls_encode,
        decoder=_jpegls_decode,
        library=imagecodecs_version("jpegls"),
    ),
    Lossless(
        name="jpeg2000_lossless",
        settings="5/3 reversible wavelet, reversible colour transform, 6 resolutions, 64x64 code blocks, one layer, "
        "bare codestream",
        encoder=_jpeg2000_encode,
        decoder=pillow_decoder("JPEG2000"),
        library=pillow_version("jpg_2000", "OpenJPEG"),
    ),
    Lossless(
        name="webp_lossless",
        settings="lossless, method 6, quality 75 (100 takes 25 times as long for 0.2 % less)",
        encoder=_webp_encode,
        decoder=pillow_decoder("WEBP"),
        library=pillow_version("webp", "libwebp"),
    ),
    Lossless(
        name="jpegxl_lossless",
        settings="modular, effort 7 (9 takes twice as long for 0.3 % less), no container",
        encoder=_jpegxl_encode,
        decoder=jpegxl_decode,
        library=imagecodecs_version("jpegxl"),
    ),
)

LOSSLESS: dict[str, Lossless] = {codec.name: codec for codec in _CODECS}
"""The lossless baselines by name."""
