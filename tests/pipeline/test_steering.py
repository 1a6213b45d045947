"""What lambda is steered by: parts of pictures that stand for all of them."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from components.codecs.base import Codec
from components.codecs.classic import BASELINES, AtQuality
from components.evaluation import LearnedCoder, bpp_of
from pipeline.training import STEERING_SIDE, steered_by

Rgb = NDArray[np.uint8]


def test_small_pictures_are_steered_by_as_they_are(photographs: list[Rgb]) -> None:
    small = [rgb[:300, :200] for rgb in photographs]
    steering = steered_by(0.15, small)
    assert steering.scale == 1.0
    assert all(np.array_equal(piece, rgb) for piece, rgb in zip(steering.pictures, small, strict=True))


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

    steering = steered_by(0.5, [picture])
    [piece] = steering.pictures
    assert piece.shape == (STEERING_SIDE, STEERING_SIDE, 3)
    assert (steering.scale < 0.5) == (busy == "middle")
    codec = make_codec("wcae").eval()
    assert steering.rate(codec) == pytest.approx(steering.scale * bpp_of(LearnedCoder(codec), [piece]))


def test_a_target_below_all_that_webp_reaches(photograph: Rgb) -> None:
    large = np.tile(photograph, (8, 8, 1))
    steering = steered_by(1e-4, [large])
    webp = AtQuality(BASELINES["webp"], BASELINES["webp"].low)
    assert steering.scale == pytest.approx(bpp_of(webp, [large]) / bpp_of(webp, list(steering.pictures)))
