import numpy as np
import pytest

from components.metrics.bd_rate import bd_rate_percent

BPP = [0.1, 0.2, 0.4, 0.8, 1.6]
PSNR = [27.0, 29.5, 31.8, 34.6, 37.2]


@pytest.mark.parametrize("percent", [10.0, -10.0, 0.0, 50.0])
def test_a_curve_shifted_in_rate(percent: float) -> None:
    shifted = [b * (1 + percent / 100) for b in BPP]
    assert bd_rate_percent(BPP, PSNR, shifted, PSNR) == pytest.approx(percent, abs=1e-9)


def test_points_may_be_unsorted_and_unmatched() -> None:
    bpp = np.geomspace(0.1, 1.6, 7)
    psnr = 40 + 3 * np.log2(bpp)  # a straight line in log-rate: PCHIP is exact
    order = [3, 0, 6, 1, 5, 2, 4]
    other = np.geomspace(0.12, 1.5, 5)
    got = bd_rate_percent(
        bpp[order].tolist(), psnr[order].tolist(), (1.1 * other).tolist(), (40 + 3 * np.log2(other)).tolist()
    )
    assert got == pytest.approx(10, abs=1e-9)


def test_no_figure_where_there_is_none() -> None:
    assert bd_rate_percent(BPP[:3], PSNR[:3], BPP, PSNR) is None
    assert bd_rate_percent(BPP, PSNR, BPP[:3], PSNR[:3]) is None
    assert bd_rate_percent(BPP, PSNR, BPP, [p + 20 for p in PSNR]) is None  # they do not meet
    assert bd_rate_percent(BPP, PSNR, BPP, [p + 5 for p in PSNR]) is None  # 5.2 of 15.2 dB
    assert bd_rate_percent(BPP, PSNR, BPP, [p + 3 for p in PSNR]) is not None  # 7.2 of 13.2 dB
    assert bd_rate_percent(BPP, PSNR, BPP, [27.0, 29.5, 29.4, 34.6, 37.2]) is None  # falls
    assert bd_rate_percent([], [], BPP, PSNR) is None


@pytest.mark.parametrize("bad", [[0.1, 0.2, 0.4], [0.0, 0.2, 0.4, 0.8, 1.6], [0.1, 0.2, 0.4, 0.8, float("inf")]])
def test_bad_curves_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="a curve needs"):
        bd_rate_percent(bad, PSNR, BPP, PSNR)
