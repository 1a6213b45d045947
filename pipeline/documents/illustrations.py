"""Drawings of one picture that `evaluate` keeps: curve.json of a progressive codec, and maps.json of a learned one.

They lie in evaluation/<name>/reconstructions/<set>/: prefixes/curve.json and maps.json.
"""

from pipeline.documents.base import Document, Section


class PrefixPoint(Section):
    """The picture that the first bytes of a file give."""

    bytes: int
    """Number of first bytes."""
    bpp: float
    """8 * bytes / pixels."""
    psnr_db: float | None
    """PSNR of the picture in dB; null where it is the original."""
    ms_ssim: float | None
    """Multi-scale structural similarity; null where the picture is too small for its scales."""


class PrefixCurve(Document):
    """Quality of one picture over the first bytes of its file, of a progressive codec."""

    image: str
    """Name of the picture's file."""
    violations: int
    """Number of points with a lower PSNR than the shorter one before."""
    points: tuple[PrefixPoint, ...]
    """The curve, by size."""


class LatentMaps(Document):
    """Figures of a learned codec for each position of one picture's latents."""

    image: str
    """Name of the picture's file."""
    maps: dict[str, tuple[tuple[float, ...], ...]]
    """`bits`, estimated for each pixel of a position, or `importance` from 0 to 1 -> rows of figures."""
