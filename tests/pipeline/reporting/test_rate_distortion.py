from typing import Literal

import numpy as np

from pipeline.reporting.rate_distortion import Metric, RdPoint, rd_plot

RATES: dict[Literal["as_calibrated", "at_target", "curve"], tuple[float, float]] = {
    "as_calibrated": (0.19, 28.0),
    "at_target": (0.15, 27.0),
    "curve": (0.12, 26.0),
}


def lines(metric: Metric) -> list[list[tuple[float, float]]]:
    points = [
        RdPoint("swift", "learned", "kodak", label, bpp, psnr_db, None if label == "curve" else psnr_db / 30)
        for label, (bpp, psnr_db) in RATES.items()
    ]
    points.append(RdPoint("swift", "learned", "kodak", "curve", 0.9, 33.0, None))  # beyond the plot
    (axes,) = rd_plot(points, {}, metric, 0.15).axes
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in axes.lines]


def test_a_line_goes_through_the_rates_of_a_codec() -> None:
    assert [(0.12, 26.0), (0.15, 27.0), (0.19, 28.0)] in lines("psnr_db")


def test_a_quality_that_a_curve_lacks_has_the_two_points() -> None:
    assert [(0.15, 27 / 30), (0.19, 28 / 30)] in lines("ms_ssim")
