"""The ranking and the BD-rates of the leaderboard."""

import pytest

from pipeline.stages.choose import _bd_rate, _ranked

CURVE = [{"bpp": bpp, "psnr_db": psnr} for bpp, psnr in ((0.09, 25.0), (0.12, 26.0), (0.15, 27.0), (0.24, 28.5))]


def test_a_curve_of_a_tenth_fewer_bits() -> None:
    fewer = [{**point, "bpp": 0.9 * point["bpp"]} for point in CURVE]
    found = _bd_rate(fewer, CURVE)
    assert found["bd_rate_percent"] == pytest.approx(-10)
    assert found["bd_rate_points"] == 4
    assert _bd_rate(CURVE, fewer)["bd_rate_percent"] == pytest.approx(100 / 9)


def test_why_there_is_none() -> None:
    assert _bd_rate(CURVE, None)["bd_rate_percent_why"] == "jpeg2000 is not among the baselines"
    assert "of 3 rates" in _bd_rate(CURVE[:3], CURVE)["bd_rate_percent_why"]


def test_rows_are_ranked_by_the_metric_of_the_params() -> None:
    rows = [
        {"name": "a", "kind": "learned", "bpp": 0.15, "psnr_db": 30.0, "ms_ssim": 0.9},
        {"name": "b", "kind": "learned", "bpp": 0.15, "psnr_db": 29.0, "ms_ssim": 0.95},
    ]
    assert [row["name"] for row in _ranked(rows, "psnr_db")] == ["a", "b"]
    assert [row["name"] for row in _ranked(rows, "ms_ssim")] == ["b", "a"]
