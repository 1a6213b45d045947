"""BD-rate: the mean difference in rate at equal PSNR between two curves."""

from collections.abc import Sequence

import numpy as np

MIN_POINTS = 4  # as in Bjontegaard's own fits: fewer do not fix a curve
MIN_OVERLAP = 0.5  # of the PSNR range both curves span together; below it a few points at one end decide


def bd_rate_percent(
    anchor_bpp: Sequence[float],
    anchor_psnr: Sequence[float],
    test_bpp: Sequence[float],
    test_psnr: Sequence[float],
) -> float | None:
    """By how many per cent the test curve's rate (bpp) exceeds the anchor's at equal PSNR (dB).

    Negative where the test saves bits. Points may come in any order and the curves may differ in length.
    log-rate over PSNR is interpolated by PCHIP, which does not overshoot between unevenly spaced points, and
    integrated over the PSNRs that both curves reach (Bjontegaard, VCEG-M33, 2001). None where a curve has
    fewer than `MIN_POINTS` points, falls or stands still in PSNR as its rate rises, or where the curves share
    less than `MIN_OVERLAP` of the range they span. Raises `ValueError` for lists of different lengths, rates
    that are not positive and figures that are not finite.
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
