"""What a progressive codec makes of the first bytes of one file, beside JPEG 2000's quality layers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.baselines.lossy import jpeg2000_layers
from components.codecs.coder import LearnedCoder, progressive_stream
from components.codecs.tensors import to_tensor
from components.metrics.quality import quality_of

LOWEST_BPP, HIGHEST_BPP = 0.02, 0.5
POINTS = 40
JPEG2000_LAYERS = 20  # each costs its packets' headers
SMALLEST = 64  # bytes: the header and a little
SHOWN_BPP = (0.02, 0.05, 0.1, 0.15, 0.25, 0.5)


@dataclass(frozen=True)
class Prefix:
    """The picture that some first bytes give."""

    bytes: int
    bpp: float
    psnr_db: float | None
    ms_ssim: float | None


def prefixes(codec: Codec, rgb: Rgb, keep: Callable[[float, Rgb], None]) -> Iterator[Prefix]:
    """One stream of a progressive codec, cut to `POINTS` sizes; `keep(bpp, decoded)` sees those of `SHOWN_BPP`."""
    x = to_tensor(rgb)
    stream = progressive_stream(codec, codec.latents(x), x.shape[-2:], HIGHEST_BPP)
    coder, pixels = LearnedCoder(codec), rgb.shape[0] * rgb.shape[1]
    least, most = (int(bpp * pixels / 8) for bpp in (LOWEST_BPP, HIGHEST_BPP))
    sizes = np.geomspace(max(least, SMALLEST), max(most, SMALLEST), POINTS).astype(int).tolist()
    shown = {min(sizes, key=lambda size: abs(size - bpp * pixels / 8)): bpp for bpp in SHOWN_BPP}
    for size in sizes:
        file = stream.truncate(size)
        decoded = coder.decode(file)
        if size in shown:
            keep(shown[size], decoded)
        yield _prefix(len(file), rgb, decoded)


def jpeg2000_prefixes(rgb: Rgb) -> Iterator[Prefix]:
    """A JPEG 2000 file of `JPEG2000_LAYERS` quality layers, cut after each."""
    rates = np.geomspace(LOWEST_BPP, HIGHEST_BPP, JPEG2000_LAYERS)
    for size, decoded in jpeg2000_layers(rgb, rates.tolist()):
        yield _prefix(size, rgb, decoded)


def violations(curve: Sequence[Prefix]) -> int:
    """How many prefixes are worse in PSNR than the one before."""
    values = [point.psnr_db for point in curve if point.psnr_db is not None]
    return sum(after < before for before, after in pairwise(values))


def _prefix(size: int, rgb: Rgb, decoded: Rgb) -> Prefix:
    quality = quality_of(rgb, decoded)
    return Prefix(size, 8 * size / (rgb.shape[0] * rgb.shape[1]), quality.psnr_db, quality.ms_ssim)
