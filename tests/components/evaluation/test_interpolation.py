"""Figures between two real points: AVIF and HEIC on photographs, at rates that they have and that they have not."""

import math

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.evaluation.interpolation import interpolated
from components.evaluation.measure import measure
from components.evaluation.results import RatePoint, summarise

FIGURES = ("psnr_db", "pooled_psnr_db", "ssim", "ms_ssim", "swd", "ssimulacra2", "psnr_hvs_m_db", "bpp_mean")


@pytest.fixture(scope="module")
def pictures() -> list[tuple[str, Rgb]]:
    from skimage import data

    return [("astronaut", data.astronaut()[:192, 128:320].copy()), ("coffee", data.coffee()[:180, 200:400].copy())]


def at_quality(name: str, quality: int, pictures: list[tuple[str, Rgb]]) -> RatePoint:
    return summarise(measure(AtQuality(BASELINES[name], quality), pictures))


@pytest.mark.parametrize(("name", "quality"), [("avif", 30), ("heic", 9)])
def test_a_quality_left_out_is_found_between_its_neighbours(
    name: str, quality: int, pictures: list[tuple[str, Rgb]]
) -> None:
    below, real, above = (at_quality(name, each, pictures) for each in (quality - 1, quality, quality + 1))
    found = interpolated(below, above, real.bpp)
    assert (found.bpp, found.images, found.pixels) == (real.bpp, 2, real.pixels)
    assert found.bytes == real.bytes
    assert found.psnr_db == pytest.approx(real.psnr_db, abs=0.1)
    assert found.ms_ssim == pytest.approx(real.ms_ssim, abs=0.003)
    assert found.pooled_psnr_db == pytest.approx(real.pooled_psnr_db, abs=0.1)


def test_every_figure_is_linear_in_the_logarithm_of_the_rate(pictures: list[tuple[str, Rgb]]) -> None:
    below, above = at_quality("avif", 25, pictures), at_quality("avif", 28, pictures)
    for share in (0.0, 0.5, 0.8, 1.0):
        bpp = below.bpp ** (1 - share) * above.bpp**share
        found = interpolated(below, above, min(max(bpp, below.bpp), above.bpp))
        for figure in FIGURES:
            expected = (1 - share) * getattr(below, figure) + share * getattr(above, figure)
            assert getattr(found, figure) == pytest.approx(expected), figure
    middle = interpolated(below, above, math.sqrt(below.bpp * above.bpp))
    assert middle.encode_s_per_mpx == pytest.approx(np.mean([below.encode_s_per_mpx, above.encode_s_per_mpx]))


def test_nothing_is_extrapolated(pictures: list[tuple[str, Rgb]]) -> None:
    below, above = at_quality("avif", 25, pictures), at_quality("avif", 28, pictures)
    for bpp in (0.99 * below.bpp, 1.01 * above.bpp, 0.0):
        with pytest.raises(ValueError, match="does not lie between"):
            interpolated(below, above, bpp)
    with pytest.raises(ValueError, match="does not lie between"):
        interpolated(below, below, below.bpp)


def test_a_figure_that_one_point_lacks_is_lacking(pictures: list[tuple[str, Rgb]]) -> None:
    below, above = at_quality("avif", 25, pictures), at_quality("avif", 28, pictures)
    lossless = above.model_copy(update={"psnr_db": None, "psnr_db_why": "infinite"})
    found = interpolated(below, lossless, above.bpp)
    assert (found.psnr_db, found.psnr_db_why) == (None, "infinite")
    assert found.ssim == pytest.approx(above.ssim)
