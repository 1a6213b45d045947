"""Results of a measurement: the figures of one picture, and those of a whole set at one rate."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from ..metrics.figures import FIGURES
from ..settings import without_absent


@dataclass(frozen=True)
class ImageResult:
    """One picture through a coder.

    Attributes:
        image: name of the picture.
        width: in pixels.
        height: in pixels.
        bytes: size of the whole file, headers included.
        bpp: 8 * bytes / pixels.
        psnr_db: see `metrics.quality`, like the figures that follow; None where the figure does not exist.
        ssim: structural similarity.
        ms_ssim: structural similarity over five scales.
        swd: sliced Wasserstein distance of patches.
        ssimulacra2: score of SSIMULACRA 2.
        psnr_hvs_m_db: PSNR-HVS-M in dB.
        encode_s: seconds from picture to file.
        decode_s: seconds from file to picture.
        reasons: for each figure that is None, the reason.
    """

    image: str
    width: int
    height: int
    bytes: int
    bpp: float
    psnr_db: float | None
    ssim: float | None
    ms_ssim: float | None
    swd: float | None
    ssimulacra2: float | None
    psnr_hvs_m_db: float | None
    encode_s: float
    decode_s: float
    reasons: dict[str, str]


class RatePoint(BaseModel):
    """A coder on a set of pictures at one operating point.

    In JSON a figure that does not exist is null, with the reason beside it in `<figure>_why`; a reason that is not
    needed is left out. A figure that was not measured is left out as well: files may be older than it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    images: int
    """Number of pictures."""
    pixels: int
    """Of all pictures together."""
    bytes: int
    """Of all files together, headers included."""
    bpp: float
    """Rate of the set in bits per pixel: 8 * bytes / pixels."""
    bpp_mean: float
    """Mean of the pictures' rates, in bits per pixel."""
    psnr_db: float | None
    """Mean PSNR of the pictures, in dB."""
    psnr_db_why: str | None = None
    """Why there is no PSNR."""
    pooled_psnr_db: float | None = None
    """PSNR of all pixels of all pictures together, in dB: of their mean squared error."""
    pooled_psnr_db_why: str | None = None
    """Why there is no pooled PSNR."""
    ssim: float | None
    """Mean SSIM of the pictures."""
    ssim_why: str | None = None
    """Why there is no SSIM."""
    ms_ssim: float | None
    """Mean MS-SSIM of the pictures."""
    ms_ssim_why: str | None = None
    """Why there is no MS-SSIM."""
    swd: float | None
    """Mean sliced Wasserstein distance of the pictures' patches; lower is better."""
    swd_why: str | None = None
    """Why there is no sliced Wasserstein distance."""
    ssimulacra2: float | None = None
    """Mean score of the pictures by SSIMULACRA 2, at most 100."""
    ssimulacra2_why: str | None = None
    """Why there is no score."""
    psnr_hvs_m_db: float | None = None
    """Mean PSNR-HVS-M of the pictures, in dB."""
    psnr_hvs_m_db_why: str | None = None
    """Why there is no PSNR-HVS-M."""
    encode_s_per_mpx: float
    """Seconds of encoding for a million pixels."""
    decode_s_per_mpx: float
    """Seconds of decoding for a million pixels."""

    @model_serializer(mode="wrap")
    def _without_absent_figures(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_absent(serialise(self), type(self))


def summarise(results: Sequence[ImageResult]) -> RatePoint:
    """The figures of a set: total bits over total pixels, the means of the pictures' qualities, and the pooled PSNR.

    A quality that some picture lacks is None for the set; the reason is that of the first such picture.
    """
    pixels = sum(result.width * result.height for result in results)
    size = sum(result.bytes for result in results)
    qualities: dict[str, Any] = {}
    for figure in FIGURES:
        qualities |= _mean(results, figure)
    return RatePoint(
        images=len(results),
        pixels=pixels,
        bytes=size,
        bpp=8 * size / pixels,
        bpp_mean=sum(result.bpp for result in results) / len(results),
        **_pooled_psnr(results),
        encode_s_per_mpx=1e6 * sum(result.encode_s for result in results) / pixels,
        decode_s_per_mpx=1e6 * sum(result.decode_s for result in results) / pixels,
        **qualities,
    )


def pooled_psnr_db(pictures: Iterable[tuple[int, float | None]]) -> float | None:
    """PSNR of the mean squared error over all pixels of a set, in dB.

    Args:
        pictures: pixels and PSNR of each picture; a PSNR is None where nothing changed.

    Returns:
        The PSNR; None (infinite) where no picture changed.
    """
    pixels, error = 0, 0.0
    for size, psnr in pictures:
        pixels += size
        error += 0.0 if psnr is None else size * 10 ** (-psnr / 10)
    return None if error == 0 else -10 * math.log10(error / pixels)


def _pooled_psnr(results: Sequence[ImageResult]) -> dict[str, Any]:
    psnr = pooled_psnr_db((result.width * result.height, result.psnr_db) for result in results)
    why = None if psnr is not None else "infinite: all pictures are identical"
    return {"pooled_psnr_db": psnr, "pooled_psnr_db_why": why}


def _mean(results: Sequence[ImageResult], figure: str) -> dict[str, Any]:
    values = [getattr(result, figure) for result in results]
    if None in values:
        lacking = results[values.index(None)]
        return {figure: None, f"{figure}_why": f"{lacking.image}: {lacking.reasons[figure]}"}
    return {figure: sum(values) / len(values)}
