"""Crops that represent whole pictures when their rate is measured."""

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.rate.real_rate import bpp_of
from components.rate.representative_crops import CROP_SIDE, representative_crops


def test_small_pictures_stay_whole(photographs: list[Rgb]) -> None:
    small = [rgb[:300, :200] for rgb in photographs]
    found = representative_crops(small, 0.15)
    assert found.scale == 1.0
    assert all(np.array_equal(crop, rgb) for crop, rgb in zip(found.crops, small, strict=True))


@pytest.mark.parametrize("busy", ["middle", "edge"])
def test_the_scale_corrects_for_where_detail_lies(busy: str, photograph: Rgb) -> None:
    """Detail lies where the crops are taken from, or where they are not."""
    side = 2 * CROP_SIDE
    flat = np.full((side, side, 3), 128, np.uint8)
    detail = np.tile(photograph, (8, 8, 1))[:side, :side]
    # The middles of the quarters: 256 from 128 and from 640 on.
    inside = np.zeros(side, bool)
    for start in (128, 640):
        inside[start : start + 256] = True
    chosen = np.outer(inside, inside)[..., None]
    picture = np.where(chosen if busy == "middle" else ~chosen, detail, flat)

    [crop], scale = representative_crops([picture], 0.5)
    assert crop.shape == (CROP_SIDE, CROP_SIDE, 3)
    assert (scale < 0.5) == (busy == "middle")


def test_a_target_below_all_that_webp_reaches(photograph: Rgb) -> None:
    large = np.tile(photograph, (8, 8, 1))
    crops, scale = representative_crops([large], 1e-4)
    webp = AtQuality(BASELINES["webp"], BASELINES["webp"].low)
    assert scale == pytest.approx(bpp_of(webp, [large]) / bpp_of(webp, list(crops)))
