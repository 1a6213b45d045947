"""The classic codecs that learned ones are measured against, each at its best settings for PSNR.

A picture is `rgb_HWC`: uint8, shape (H, W, 3), sRGB. Every size from 1x1 up is taken as it is (no codec here
refuses one, so nothing is padded), and every bitstream is a whole file as the codec's own tools read it,
headers included, without metadata. The settings were chosen by mean PSNR on Kodak pictures near 0.15 bpp.
"""

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import BitstreamError, ImageError

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Classic:
    """One classic codec. A larger quality gives a larger file."""

    name: str
    low: float
    """The lowest quality admitted."""
    high: float
    """The highest quality admitted."""
    integer: bool
    """Whether the quality takes whole numbers only."""
    settings: str
    """The settings and what the quality means, for a report."""
    encoder: Callable[[Picture, float], bytes]
    decoder: Callable[[bytes], Picture]
    library: Callable[[], str]

    @property
    def version(self) -> str:
        """The libraries behind the codec, with their versions."""
        return self.library()

    def encode(self, rgb_HWC: Picture, quality: float) -> bytes:
        """The bitstream of a uint8 (H, W, 3) picture.

        Raises `ValueError` for a quality out of range, `ImageError` for a picture the codec does not take.
        """
        if not self.low <= quality <= self.high or (self.integer and quality != int(quality)):
            kind = "a whole number" if self.integer else "a number"
            raise ValueError(f"{self.name}: quality {quality} is not {kind} from {self.low:g} to {self.high:g}")
        if rgb_HWC.dtype != np.uint8 or rgb_HWC.ndim != 3 or rgb_HWC.shape[2] != 3 or rgb_HWC.size == 0:
            raise ImageError(f"{self.name}: not a uint8 (H, W, 3) picture: {rgb_HWC.dtype} {rgb_HWC.shape}")
        try:
            return self.encoder(np.ascontiguousarray(rgb_HWC), quality)
        except (OSError, ValueError, RuntimeError) as error:
            height, width = rgb_HWC.shape[:2]
            raise ImageError(f"{self.name}: cannot encode a {width}x{height} picture: {error}") from error

    def decode(self, data: bytes) -> Picture:
        """The uint8 (H, W, 3) picture of a bitstream; raises `BitstreamError` where there is none."""
        return self.decoder(data)


@dataclass(frozen=True)
class AtQuality:
    """A classic codec at one quality as a Coder."""

    classic: Classic
    quality: float

    def encode(self, rgb_HWC: Picture) -> bytes:
        """The whole file."""
        return self.classic.encode(rgb_HWC, self.quality)

    def decode(self, data: bytes) -> Picture:
        """The picture of a file."""
        return self.classic.decode(data)


def _save(rgb_HWC: Picture, container: str, **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb_HWC).save(buffer, container, **options)
    return buffer.getvalue()


def _pillow_decoder(container: str) -> Callable[[bytes], Picture]:
    def decode(data: bytes) -> Picture:
        from PIL import Image

        # What Pillow's readers raise for a bad file is not one class; a SyntaxError is a broken header.
        bad = (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            IndexError,
            struct.error,
            Image.DecompressionBombError,
        )
        try:
            with Image.open(io.BytesIO(data), formats=[container]) as image:
                return np.array(image.convert("RGB"))
        except bad as error:
            raise BitstreamError(f"not a readable {container} bitstream: {error}") from error

    return decode


def _pillow_version(feature: str, library: str) -> Callable[[], str]:
    def version() -> str:
        import PIL
        from PIL import features

        return f"Pillow {PIL.__version__}, {library} {features.version(feature)}"

    return version


def _jpeg_tables(quality: float) -> list[list[int]]:
    """Luma and chroma quantiser steps (64 each, row by row), 1 to 255.

    The steps rise gently with frequency: far flatter than Annex K of the standard, which weighs by
    visibility. The DC step is finer than its neighbours, and the subsampled chroma finer than the luma, since
    at low rates an error there covers the whole block (or four) and costs few bits to mend.
    """
    v, u = np.mgrid[:8, :8]
    luma = 16.0 + 2.0 * (u + v)
    luma[0, 0] = 9.6
    tables = [np.clip(np.round(table * 100 / quality), 1, 255) for table in (luma, 0.5 * luma)]
    return [table.astype(int).ravel().tolist() for table in tables]


def _jpeg_encode(rgb_HWC: Picture, quality: float) -> bytes:
    tables = _jpeg_tables(quality)
    # The same coefficients either way: the tables of progressive scans cost small files more than they save.
    files = (
        _save(rgb_HWC, "JPEG", qtables=tables, subsampling="4:2:0", optimize=True, progressive=progressive)
        for progressive in (False, True)
    )
    return min(files, key=len)


def _jpeg2000_encode(rgb_HWC: Picture, quality: float) -> bytes:
    return _jpeg2000(rgb_HWC, [quality])


def _jpeg2000(rgb_HWC: Picture, layers_bpp: Sequence[float]) -> bytes:
    return _save(
        rgb_HWC,
        "JPEG2000",
        irreversible=True,
        mct=1,
        quality_mode="rates",
        quality_layers=[24 / bpp for bpp in layers_bpp],
        no_jp2=True,
        comment=" ",  # without one OpenJPEG signs with 33 bytes, half a per cent of a small file
    )


def _webp_encode(rgb_HWC: Picture, quality: float) -> bytes:
    return _save(rgb_HWC, "WEBP", quality=quality, method=6)


def _avif_encode(rgb_HWC: Picture, quality: float) -> bytes:
    return _save(
        rgb_HWC,
        "AVIF",
        quality=int(quality),
        codec="aom",
        speed=4,
        subsampling="4:4:4",
        max_threads=1,
        autotiling=False,
        advanced={"tune": "psnr", "enable-cdef": "1"},
    )


def _jpegxl_encode(rgb_HWC: Picture, quality: float) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(rgb_HWC, effort=5, distance=1 / quality, numthreads=1))


def _jpegxl_decode(data: bytes) -> Picture:
    import imagecodecs

    try:
        decoded = np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))
    except (RuntimeError, ValueError, MemoryError) as error:
        raise BitstreamError(f"not a readable JPEG XL bitstream: {error}") from error
    if decoded.dtype != np.uint8 or decoded.ndim != 3 or decoded.shape[2] != 3:
        raise BitstreamError(f"not a JPEG XL bitstream of 8-bit RGB: {decoded.dtype} {decoded.shape}")
    return decoded


def _imagecodecs_version() -> str:
    import imagecodecs

    return f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpegxl_version().replace('-', ' ')}"


# Above a distance of 20 libjxl halves the picture first, and the rate jumps up: the range ends before that.
_CODECS = (
    Classic(
        name="jpeg",
        low=4,
        high=2000,
        integer=False,
        settings="4:2:0, quantiser tables for PSNR (DC 9.6, AC 16 + 2 per frequency, chroma half of luma), "
        "optimised Huffman, sequential or progressive, whichever is shorter; "
        "quality = 100 / scale of the tables",
        encoder=_jpeg_encode,
        decoder=_pillow_decoder("JPEG"),
        library=_pillow_version("libjpeg_turbo", "libjpeg-turbo"),
    ),
    Classic(
        name="jpeg2000",
        low=0.001,
        high=12,
        integer=False,
        settings="9/7 irreversible wavelet, irreversible colour transform, 6 resolutions, 64x64 code blocks, "
        "one layer, bare codestream; quality = bits per pixel asked of each picture",
        encoder=_jpeg2000_encode,
        decoder=_pillow_decoder("JPEG2000"),
        library=_pillow_version("jpg_2000", "OpenJPEG"),
    ),
    Classic(
        name="webp",
        low=0,
        high=100,
        integer=False,
        settings="lossy, method 6; quality = libwebp's",
        encoder=_webp_encode,
        decoder=_pillow_decoder("WEBP"),
        library=_pillow_version("webp", "libwebp"),
    ),
    Classic(
        name="avif",
        low=0,
        high=100,
        integer=True,
        settings="aom, 4:4:4, speed 4, tune=psnr, CDEF on, one thread and tile; quality = libavif's",
        encoder=_avif_encode,
        decoder=_pillow_decoder("AVIF"),
        library=_pillow_version("avif", "libavif"),
    ),
    Classic(
        name="jpegxl",
        low=0.051,
        high=20,
        integer=False,
        settings="VarDCT, effort 5, no container; quality = 1 / Butteraugli distance",
        encoder=_jpegxl_encode,
        decoder=_jpegxl_decode,
        library=_imagecodecs_version,
    ),
)

BASELINES: dict[str, Classic] = {codec.name: codec for codec in _CODECS}
"""The baselines by name."""


def jpeg2000_layers(rgb_HWC: Picture, layers_bpp: Sequence[float]) -> Iterator[tuple[int, Picture]]:
    """Bytes and picture of a progressive JPEG 2000 file after each of its quality layers, rates in ascending order.

    Each is made as a file of that many layers: the packets of a layer do not depend on those that follow.
    """
    for count in range(1, len(layers_bpp) + 1):
        data = _jpeg2000(rgb_HWC, layers_bpp[:count])
        yield len(data), BASELINES["jpeg2000"].decode(data)
