"""PSNR-HVS-M (Ponomarenko et al. 2007): PSNR of the luma, by how well people see each error.

The figures are those of the package `psnr-hvsm` and of the TID2013 data set.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ..arrays import Rgb

PSNR_HVS_M_MIN_SIDE = 8
"""Pixels a side of a block."""

_SENSITIVITY = np.array(
    [
        (1.608443, 2.339554, 2.573509, 1.608443, 1.072295, 0.643377, 0.504610, 0.421887),
        (2.144591, 2.144591, 1.838221, 1.354478, 0.989811, 0.443708, 0.428918, 0.467911),
        (1.838221, 1.979622, 1.608443, 1.072295, 0.643377, 0.451493, 0.372972, 0.459555),
        (1.838221, 1.513829, 1.169777, 0.887417, 0.504610, 0.295806, 0.321689, 0.415082),
        (1.429727, 1.169777, 0.695543, 0.459555, 0.378457, 0.236102, 0.249855, 0.334222),
        (1.072295, 0.735288, 0.467911, 0.402111, 0.317717, 0.247453, 0.227744, 0.279729),
        (0.525206, 0.402111, 0.329937, 0.295806, 0.249855, 0.212687, 0.214459, 0.254803),
        (0.357432, 0.279729, 0.270896, 0.262603, 0.229778, 0.257351, 0.249855, 0.259950),
    ]
)
"""Contrast sensitivity of the eye for each coefficient of an 8x8 DCT."""
_MASKING = np.array(
    [
        (0.390625, 0.826446, 1.000000, 0.390625, 0.173611, 0.062500, 0.038447, 0.026874),
        (0.694444, 0.694444, 0.510204, 0.277008, 0.147929, 0.029727, 0.027778, 0.033058),
        (0.510204, 0.591716, 0.390625, 0.173611, 0.062500, 0.030779, 0.021004, 0.031888),
        (0.510204, 0.346021, 0.206612, 0.118906, 0.038447, 0.013212, 0.015625, 0.026015),
        (0.308642, 0.206612, 0.073046, 0.031888, 0.021626, 0.008417, 0.009426, 0.016866),
        (0.173611, 0.081633, 0.033058, 0.024414, 0.015242, 0.009246, 0.007831, 0.011815),
        (0.041649, 0.024414, 0.016437, 0.013212, 0.009426, 0.006830, 0.006944, 0.009803),
        (0.019290, 0.011815, 0.011080, 0.010412, 0.007972, 0.010000, 0.009426, 0.010203),
    ]
)
"""How much each coefficient hides others, and is hidden by them."""
_OF_ANY_BUT_DC = 1 - np.eye(64)[0].reshape(8, 8)
_FREQUENCIES = np.arange(8)[:, None] * (2 * np.arange(8) + 1) * np.pi / 16
_DCT = np.cos(_FREQUENCIES) / np.where(np.arange(8) == 0, math.sqrt(8), 2)[:, None]
"""Orthonormal DCT: row k has the samples of frequency k."""

Blocks = NDArray[np.float64]


def psnr_hvs_m_db(original: Rgb, decoded: Rgb) -> float | None:
    """PSNR-HVS-M of two pictures (H, W, 3) in dB, over the 8x8 blocks of their 8-bit BT.601 luma.

    The difference of a DCT coefficient counts by the eye's sensitivity, less what the block's own detail hides. Rows
    and columns that are left after the last whole block do not count.

    Returns:
        The figure; None (infinite) where no difference is seen, and for a side below `PSNR_HVS_M_MIN_SIDE`.
    """
    if min(original.shape[:2]) < PSNR_HVS_M_MIN_SIDE:
        return None
    a, b = _blocks(original), _blocks(decoded)
    coefficients_a, coefficients_b = _DCT @ a @ _DCT.T, _DCT @ b @ _DCT.T
    hidden = np.maximum(_masking(a, coefficients_a), _masking(b, coefficients_b))[:, None, None]
    difference = np.abs(coefficients_a - coefficients_b)
    seen = np.maximum(difference - hidden * _OF_ANY_BUT_DC / _MASKING, 0) * _SENSITIVITY
    error = float(np.mean(seen * seen))
    return None if error == 0 else 10 * math.log10(255**2 / error)


def _blocks(rgb: Rgb) -> Blocks:
    """(blocks, 8, 8): the 8-bit luma, 16 for black and 235 for white."""
    height, width = (side // 8 * 8 for side in rgb.shape[:2])
    weighted = rgb[:height, :width].astype(np.int32) @ np.array([65481, 128553, 24966], np.int32)
    luma = ((2 * weighted + 255_000) // 510_000).astype(np.float64) + 16  # rounded in integers, alike on every machine
    return luma.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 8, 8)


def _masking(blocks: Blocks, coefficients: Blocks) -> NDArray[np.float64]:
    """How much of a difference the detail of each block hides; less where an edge holds most of the detail."""
    energy = np.sum(coefficients * coefficients * _OF_ANY_BUT_DC * _MASKING, axis=(1, 2))
    quarters = blocks.reshape(-1, 2, 4, 2, 4).swapaxes(2, 3)
    spread = 64 * np.var(blocks, axis=(1, 2), ddof=1)
    of_quarters = 16 * np.var(quarters, axis=(3, 4), ddof=1).sum(axis=(1, 2))
    share = np.divide(of_quarters, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.sqrt(energy * share / 1024)  # type: ignore[no-any-return]
