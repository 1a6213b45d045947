"""The ranking and the BD-rates of the leaderboard."""

import pytest

from pipeline.documents.evaluation import CurvePoint
from pipeline.documents.leaderboard import LossyRow
from pipeline.stages.choose import bd_rate, ranked

RATES = ((0.09, 25.0), (0.12, 26.0), (0.15, 27.0), (0.24, 28.5))
CURVE = [CurvePoint(bpp=bpp, psnr_db=psnr) for bpp, psnr in RATES]


def test_a_curve_of_a_tenth_fewer_bits() -> None:
    fewer = [CurvePoint(bpp=0.9 * point.bpp, psnr_db=point.psnr_db) for point in CURVE]
    found = bd_rate(fewer, CURVE)
    assert found["bd_rate_percent"] == pytest.approx(-10)
    assert found["bd_rate_points"] == 4
    assert bd_rate(CURVE, fewer)["bd_rate_percent"] == pytest.approx(100 / 9)


def test_why_there_is_none() -> None:
    assert bd_rate(CURVE, None)["bd_rate_percent_why"] == "jpeg2000 is not among the baselines"
    assert "of 3 rates" in bd_rate(CURVE[:3], CURVE)["bd_rate_percent_why"]


def row(name: str, psnr_db: float, ms_ssim: float) -> LossyRow:
    figures = {"bpp": 0.15, "psnr_db": psnr_db, "ms_ssim": ms_ssim, "ssim": None, "swd": None}
    figures |= {"encode_s_per_mpx": 1.0, "decode_s_per_mpx": 1.0, "peak_mb": 1.0}
    costs = dict.fromkeys(("parameters", "encoder_kmac_per_px", "decoder_kmac_per_px"))
    return LossyRow.model_validate({"name": name, "kind": "learned", **figures, **costs})


def test_rows_are_ranked_by_the_metric_of_the_params() -> None:
    rows = [row("a", 30.0, 0.9), row("b", 29.0, 0.95)]
    assert [one.name for one in ranked(rows, "psnr_db")] == ["a", "b"]
    assert [one.name for one in ranked(rows, "ms_ssim")] == ["b", "a"]
