"""Quality over the length of a prefix: a progressive codec's stream, and JPEG 2000 with quality layers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..arrays import Rgb
from ..codecs.base import Codec
from ..codecs.baselines.lossy import jpeg2000_layers
from ..codecs.coder import LearnedCoder, progressive_stream
from ..codecs.tensors import to_tensor
from ..metrics.quality import psnr_db
from ..metrics.structural_similarity import ssim_and_ms_ssim

LOWEST_BPP, HIGHEST_BPP = 0.02, 0.5
"""Rates of the shortest and the longest prefix, in bits per pixel."""
PREFIXES = 40
"""Number of prefixes of a learned codec's stream."""
JPEG2000_LAYERS = 20
"""Number of quality layers. Each costs bytes for the headers of its packets."""
SHORTEST = 64
"""Bytes of the shortest prefix of a small picture: the header and a little more."""
SHOWN_BPP = (0.02, 0.05, 0.1, 0.15, 0.25, 0.5)
"""Rates whose decoded pictures are kept, in bits per pixel."""


@dataclass(frozen=True)
class PrefixQuality:
    """Rate and quality of the picture that a prefix decodes to; None where a figure does not exist."""

    bytes: int
    bpp: float
    psnr_db: float | None
    ms_ssim: float | None


def learned_prefixes(codec: Codec, rgb: Rgb, keep: Callable[[float, Rgb], None]) -> Iterator[PrefixQuality]:
    """Decode `PREFIXES` prefixes of one stream of a progressive codec.

    Args:
        codec: a progressive codec.
        rgb: the picture.
        keep: called with each rate in `SHOWN_BPP` and the picture that the prefix nearest to it decodes to.

    Yields:
        Rate and quality of each prefix, shortest first.
    """
    x = to_tensor(rgb)
    stream = progressive_stream(codec, codec.latents(x), x.shape[-2:], HIGHEST_BPP)
    coder, pixels = LearnedCoder(codec), rgb.shape[0] * rgb.shape[1]
    least, most = (int(bpp * pixels / 8) for bpp in (LOWEST_BPP, HIGHEST_BPP))
    sizes = np.geomspace(max(least, SHORTEST), max(most, SHORTEST), PREFIXES).astype(int).tolist()
    shown = {min(sizes, key=lambda size: abs(size - bpp * pixels / 8)): bpp for bpp in SHOWN_BPP}
    for size in sizes:
        prefix = stream.truncate(size)
        decoded = coder.decode(prefix)
        if size in shown:
            keep(shown[size], decoded)
        yield _quality(len(prefix), rgb, decoded)


def jpeg2000_prefixes(rgb: Rgb) -> Iterator[PrefixQuality]:
    """Decode a JPEG 2000 file of `JPEG2000_LAYERS` quality layers after each layer."""
    rates = np.geomspace(LOWEST_BPP, HIGHEST_BPP, JPEG2000_LAYERS)
    for size, decoded in jpeg2000_layers(rgb, rates.tolist()):
        yield _quality(size, rgb, decoded)


def psnr_drops(curve: Sequence[PrefixQuality]) -> int:
    """The number of prefixes with a lower PSNR than the shorter one before."""
    values = [point.psnr_db for point in curve if point.psnr_db is not None]
    return sum(after < before for before, after in pairwise(values))


def _quality(size: int, rgb: Rgb, decoded: Rgb) -> PrefixQuality:
    _, ms_ssim = ssim_and_ms_ssim(rgb, decoded)
    return PrefixQuality(size, 8 * size / (rgb.shape[0] * rgb.shape[1]), psnr_db(rgb, decoded), ms_ssim)
