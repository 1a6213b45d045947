"""What lambda is steered by: parts of pictures that stand for all of them."""

from collections.abc import Callable

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.codecs.coder import LearnedCoder
from components.rate.real_rate import bpp_of
from pipeline.stages._training import STEERING_SIDE, rate_target_for


def test_small_pictures_are_steered_by_as_they_are(photographs: list[Rgb]) -> None:
    small = [rgb[:300, :200] for rgb in photographs]
    rate_target = rate_target_for(0.15, small)
    assert rate_target.scale == 1.0
    assert all(np.array_equal(piece, rgb) for piece, rgb in zip(rate_target.pictures, small, strict=True))


@pytest.mark.parametrize("busy", ["middle", "edge"])
def test_pieces_of_large_pictures_foretell_the_rate_of_all(
    busy: str, photograph: Rgb, make_codec: Callable[..., Codec]
) -> None:
    """Detail lies where the pieces are taken from, or where they are not: the scale says which."""
    side = 2 * STEERING_SIDE
    flat = np.full((side, side, 3), 128, np.uint8)
    detail = np.tile(photograph, (8, 8, 1))[:side, :side]
    # The middles of the quarters: 256 from 128 and from 640 on.
    inside = np.zeros(side, bool)
    for start in (128, 640):
        inside[start : start + 256] = True
    chosen = np.outer(inside, inside)[..., None]
    picture = np.where(chosen if busy == "middle" else ~chosen, detail, flat)

    rate_target = rate_target_for(0.5, [picture])
    [piece] = rate_target.pictures
    assert piece.shape == (STEERING_SIDE, STEERING_SIDE, 3)
    assert (rate_target.scale < 0.5) == (busy == "middle")
    codec = make_codec("wcae").eval()
    assert rate_target.rate(codec) == pytest.approx(rate_target.scale * bpp_of(LearnedCoder(codec), [piece]))


def test_a_target_below_all_that_webp_reaches(photograph: Rgb) -> None:
    large = np.tile(photograph, (8, 8, 1))
    rate_target = rate_target_for(1e-4, [large])
    webp = AtQuality(BASELINES["webp"], BASELINES["webp"].low)
    assert rate_target.scale == pytest.approx(bpp_of(webp, [large]) / bpp_of(webp, list(rate_target.pictures)))
