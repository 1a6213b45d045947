"""The classic lossy codecs that learned ones are compared with, each at its best settings for PSNR.

A picture is `rgb_HWC`: uint8, shape (H, W, 3), sRGB. Every size from 1x1 up is coded as it is, without padding. Every
bitstream is a whole file as the codec's own tools read it, headers included, without metadata. The settings were chosen
by mean PSNR on Kodak pictures near 0.15 bpp.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import Rgb
from .heic import LOWEST_QUALITY, heic_decode, heic_encode, heic_version
from .libraries import (
    checked_encode,
    imagecodecs_version,
    jpegxl_decode,
    pillow_decoder,
    pillow_encode,
    pillow_version,
)


@dataclass(frozen=True)
class Classic:
    """A classic lossy codec. A larger quality gives a larger file.

    Attributes:
        name: as in the params.
        low: the lowest quality.
        high: the highest quality.
        integer: whether qualities are whole numbers.
        settings: the settings and the meaning of the quality in words, for a report.
        encoder: a picture and a quality to a file.
        decoder: a file to a picture.
        library: gives the libraries behind the codec, with their versions.
    """

    name: str
    low: float
    high: float
    integer: bool
    settings: str
    encoder: Callable[[Rgb, float], bytes]
    decoder: Callable[[bytes], Rgb]
    library: Callable[[], str]

    @property
    def version(self) -> str:
        """The libraries behind the codec, with their versions."""
        return self.library()

    def encode(self, rgb_HWC: Rgb, quality: float) -> bytes:
        """The file of a uint8 (H, W, 3) picture.

        Raises `ValueError` for a quality out of range, and `ImageError` for a picture that the codec does not take.
        """
        if not self.low <= quality <= self.high or (self.integer and quality != int(quality)):
            kind = "a whole number" if self.integer else "a number"
            raise ValueError(f"{self.name}: quality {quality} is not {kind} from {self.low:g} to {self.high:g}")
        return checked_encode(self.name, lambda rgb: self.encoder(rgb, quality), rgb_HWC)

    def decode(self, data: bytes) -> Rgb:
        """The uint8 (H, W, 3) picture in a file; raises `BitstreamError` for a bad file."""
        return self.decoder(data)


@dataclass(frozen=True)
class AtQuality:
    """A classic codec at one quality. It is a `Coder`."""

    classic: Classic
    quality: float

    def encode(self, rgb_HWC: Rgb) -> bytes:
        """The whole file of a picture."""
        return self.classic.encode(rgb_HWC, self.quality)

    def decode(self, data: bytes) -> Rgb:
        """The picture in a file."""
        return self.classic.decode(data)

    @property
    def setting(self) -> str:
        """The quality in words."""
        return f"quality {self.quality:g}"

    def at_next_quality(self) -> "AtQuality":
        """The codec at the next whole quality. Raises `ValueError` where this is the highest."""
        if self.quality >= self.classic.high:
            raise ValueError(f"{self.setting} is the highest")
        return AtQuality(self.classic, self.quality + 1)


def _jpeg_tables(quality: float) -> list[list[int]]:
    """Luma and chroma quantiser steps (64 each, row by row), 1 to 255.

    The steps rise gently with frequency, far less than in Annex K of the standard, which weights by visibility. The DC
    step is finer than its neighbours, and the subsampled chroma finer than the luma: at low rates an error there covers
    the whole block, or four, and few bits remove it.
    """
    v, u = np.mgrid[:8, :8]
    luma = 16.0 + 2.0 * (u + v)
    luma[0, 0] = 9.6
    tables = [np.clip(np.round(table * 100 / quality), 1, 255) for table in (luma, 0.5 * luma)]
    return [table.astype(int).ravel().tolist() for table in tables]


def _jpeg_encode(rgb_HWC: Rgb, quality: float) -> bytes:
    tables = _jpeg_tables(quality)
    # Both hold the same coefficients. In small files the tables of progressive scans cost more than they save.
    files = (
        pillow_encode(rgb_HWC, "JPEG", qtables=tables, subsampling="4:2:0", optimize=True, progressive=progressive)
        for progressive in (False, True)
    )
    return min(files, key=len)


def _jpeg2000_encode(rgb_HWC: Rgb, quality: float) -> bytes:
    return _jpeg2000(rgb_HWC, [quality])


def _jpeg2000(rgb_HWC: Rgb, layers_bpp: Sequence[float]) -> bytes:
    return pillow_encode(
        rgb_HWC,
        "JPEG2000",
        irreversible=True,
        mct=1,
        quality_mode="rates",
        quality_layers=[24 / bpp for bpp in layers_bpp],
        no_jp2=True,
        comment=" ",  # without one OpenJPEG signs with 33 bytes, half a per cent of a small file
    )


def _webp_encode(rgb_HWC: Rgb, quality: float) -> bytes:
    return pillow_encode(rgb_HWC, "WEBP", quality=quality, method=6)


def avif_encode(rgb_HWC: Rgb, quality: float, speed: int = 4) -> bytes:
    """An AVIF file; the baseline has speed 4, and 0 is the slowest. See Classic.encode."""
    return pillow_encode(
        rgb_HWC,
        "AVIF",
        quality=int(quality),
        codec="aom",
        speed=speed,
        subsampling="4:4:4",
        max_threads=1,
        autotiling=False,
        advanced={"tune": "psnr", "enable-cdef": "1"},
    )


def _jpegxl_encode(rgb_HWC: Rgb, quality: float) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(rgb_HWC, effort=5, distance=1 / quality, numthreads=1))


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
        decoder=pillow_decoder("JPEG"),
        library=pillow_version("libjpeg_turbo", "libjpeg-turbo"),
    ),
    Classic(
        name="jpeg2000",
        low=0.001,
        high=12,
        integer=False,
        settings="9/7 irreversible wavelet, irreversible colour transform, 6 resolutions, 64x64 code blocks, "
        "one layer, bare codestream; quality = bits per pixel asked of each picture",
        encoder=_jpeg2000_encode,
        decoder=pillow_decoder("JPEG2000"),
        library=pillow_version("jpg_2000", "OpenJPEG"),
    ),
    Classic(
        name="webp",
        low=0,
        high=100,
        integer=False,
        settings="lossy, method 6; quality = libwebp's",
        encoder=_webp_encode,
        decoder=pillow_decoder("WEBP"),
        library=pillow_version("webp", "libwebp"),
    ),
    Classic(
        name="avif",
        low=0,
        high=100,
        integer=True,
        settings="aom, 4:4:4, speed 4, tune=psnr, CDEF on, one thread and tile; quality = libavif's",
        encoder=avif_encode,
        decoder=pillow_decoder("AVIF"),
        library=pillow_version("avif", "libavif"),
    ),
    Classic(
        name="heic",
        low=0,
        high=48,
        integer=True,
        settings="x265, 4:4:4, preset slow, tune=psnr, chroma quantised 3 steps finer, no wavefronts, one thread; "
        f"quality = {LOWEST_QUALITY} - constant rate factor",
        encoder=heic_encode,
        decoder=heic_decode,
        library=heic_version,
    ),
    Classic(
        name="jpegxl",
        low=0.051,
        high=20,
        integer=False,
        settings="VarDCT, effort 5, no container; quality = 1 / Butteraugli distance",
        encoder=_jpegxl_encode,
        decoder=jpegxl_decode,
        library=imagecodecs_version("jpegxl"),
    ),
)

BASELINES: dict[str, Classic] = {codec.name: codec for codec in _CODECS}
"""The lossy baselines by name."""


def jpeg2000_layers(rgb_HWC: Rgb, layers_bpp: Sequence[float]) -> Iterator[tuple[int, Rgb]]:
    """A progressive JPEG 2000 file after each of its quality layers.

    Each prefix is encoded as a file of that many layers, because a layer's packets do not depend on later layers.

    Args:
        rgb_HWC: the picture.
        layers_bpp: rate after each layer in bits per pixel, rising.

    Yields:
        Bytes and picture after each layer.
    """
    for count in range(1, len(layers_bpp) + 1):
        data = _jpeg2000(rgb_HWC, layers_bpp[:count])
        yield len(data), BASELINES["jpeg2000"].decode(data)
