"""BD-rate: the mean difference in rate at equal PSNR between two curves."""

from collections.abc import Sequence

import numpy as np

MIN_POINTS = 4
"""Points that a curve needs, as in Bjontegaard's own fits."""
MIN_OVERLAP = 0.5
"""Share of the PSNR range of both curves together that both must reach; with less, a few points at one end decide."""


def bd_rate_percent(
    anchor_bpp: Sequence[float],
    anchor_psnr: Sequence[float],
    test_bpp: Sequence[float],
    test_psnr: Sequence[float],
) -> float | None:
    """Mean difference of the test curve's rate to the anchor's at equal PSNR (Bjontegaard, VCEG-M33, 2001).

    log rate over PSNR is interpolated by PCHIP, which does not overshoot between unevenly spaced points, and integrated
    over the PSNRs that both curves reach. Points may come in any order, and the curves may differ in length.

    Args:
        anchor_bpp: rates of the anchor, in bits per pixel.
        anchor_psnr: PSNRs of the anchor, in dB.
        test_bpp: rates of the test curve.
        test_psnr: PSNRs of the test curve.

    Returns:
        Per cent; negative where the test curve saves bits. None where a curve has fewer than `MIN_POINTS` points or
        does not rise in PSNR with its rate, or where the curves share less than `MIN_OVERLAP` of their range.

    Raises:
        ValueError: lists differ in length, a rate is not positive, or a figure is not finite.
    """
    anchor = _curve(anchor_bpp, anchor_psnr)
    test = _curve(test_bpp, test_psnr)
    if anchor is None or test is None:
        return None
    shared = min(anchor[1][-1], test[1][-1]) - max(anchor[1][0], test[1][0])
    spanned = max(anchor[1][-1], test[1][-1]) - min(anchor[1][0], test[1][0])
    if shared < MIN_OVERLAP * spanned:
        return None

    import bjontegaard

    return float(bjontegaard.bd_rate(*anchor, *test, method="pchip", require_matching_points=False, min_overlap=0))


def _curve(bpp: Sequence[float], psnr: Sequence[float]) -> tuple[np.ndarray, np.ndarray] | None:
    rates, psnrs = np.asarray(bpp, float), np.asarray(psnr, float)
    if rates.shape != psnrs.shape or rates.ndim != 1:
        raise ValueError(f"a curve needs as many rates as PSNRs, not {rates.shape} and {psnrs.shape}")
    if not (np.isfinite(rates).all() and np.isfinite(psnrs).all() and (rates > 0).all()):
        raise ValueError("a curve needs positive rates and finite PSNRs")
    order = np.argsort(rates)
    rates, psnrs = rates[order], psnrs[order]
    if len(rates) < MIN_POINTS or not ((np.diff(rates) > 0).all() and (np.diff(psnrs) > 0).all()):
        return None
    return rates, psnrs
