"""Quality of a decoded picture against its original. Pictures are uint8, shape (H, W, 3), sRGB."""

import math

import numpy as np

from ..arrays import Rgb
from .figures import Quality
from .patch_statistics import MIN_SIDE as SWD_MIN_SIDE
from .patch_statistics import sliced_wasserstein
from .psnr_hvs_m import PSNR_HVS_M_MIN_SIDE, psnr_hvs_m_db
from .ssimulacra2 import SSIMULACRA2_MIN_SIDE, ssimulacra2
from .structural_similarity import MS_SSIM_MIN_SIDE, SSIM_MIN_SIDE, ssim_and_ms_ssim


def psnr_db(a: Rgb, b: Rgb) -> float | None:
    """10 log10(255^2 / MSE) in dB, with the MSE over all RGB samples; None (infinite) for identical pictures.

    The PSNR of a set is the mean of its pictures' PSNRs. Raises `ValueError` for pictures of different shapes.
    """
    _check(a, b)
    error = a.astype(np.int64) - b
    squares = int(np.sum(error * error))
    return None if squares == 0 else 10 * math.log10(255**2 * error.size / squares)


def swd(a: Rgb, b: Rgb) -> float | None:
    """Distance of the texture of `b` from that of its original `a`, by `sliced_wasserstein`.

    None where a side is shorter than `SWD_MIN_SIDE`. Raises `ValueError` for pictures of different shapes.
    """
    _check(a, b)
    if min(a.shape[:2]) < SWD_MIN_SIDE:
        return None
    return sliced_wasserstein(a, b)


def quality_of(original: Rgb, decoded: Rgb) -> Quality:
    """All quality figures of one decoded picture. Raises `ValueError` for pictures of different shapes."""
    _check(original, decoded)
    height, width = original.shape[:2]
    ssim, ms_ssim = ssim_and_ms_ssim(original, decoded)
    figures = {
        "psnr_db": psnr_db(original, decoded),
        "ssim": ssim,
        "ms_ssim": ms_ssim,
        "swd": swd(original, decoded),
        "ssimulacra2": ssimulacra2(original, decoded),
        "psnr_hvs_m_db": psnr_hvs_m_db(original, decoded),
    }
    reasons = {
        "psnr_db": "infinite: the pictures are identical",
        "ssim": f"{width}x{height} is too small for one window (sides of at least {SSIM_MIN_SIDE})",
        "ms_ssim": f"{width}x{height} is too small for five scales (sides of at least {MS_SSIM_MIN_SIDE})",
        "swd": f"{width}x{height} is too small for a level of patches (sides of at least {SWD_MIN_SIDE})",
        "ssimulacra2": f"{width}x{height} is too small for six scales (sides of at least {SSIMULACRA2_MIN_SIDE})",
        "psnr_hvs_m_db": "infinite: no difference is seen"
        if min(height, width) >= PSNR_HVS_M_MIN_SIDE
        else f"{width}x{height} is too small for one block (sides of at least {PSNR_HVS_M_MIN_SIDE})",
    }
    return Quality(**figures, reasons={name: reasons[name] for name, figure in figures.items() if figure is None})


def _check(a: Rgb, b: Rgb) -> None:
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3 or a.size == 0:
        raise ValueError(f"two (H, W, 3) pictures of one shape are needed, not {a.shape} and {b.shape}")
    if a.dtype != np.uint8 or b.dtype != np.uint8:
        raise ValueError(f"uint8 pictures are needed, not {a.dtype} and {b.dtype}")
