import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.data.validation.perceptual_hash import (
    BITS,
    ORIENTATIONS,
    alike,
    hashes,
    hashes_in_orientations,
    oriented,
    thumbnail,
)
from tests.components.data.validation.made import TEST, TRAINING, bundled, leak


@pytest.fixture(scope="module")
def thumbnails() -> NDArray[np.uint8]:
    greys = [cv2.cvtColor(bundled(name), cv2.COLOR_RGB2GRAY) for name in (*TRAINING, *TEST)]
    return np.stack([thumbnail(np.asarray(grey, np.uint8)) for grey in greys])


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
def test_hashes_of_turned_pictures_come_from_one_transform(thumbnails: NDArray[np.uint8], orientation: int) -> None:
    turned = np.stack([oriented(each, orientation) for each in thumbnails])
    np.testing.assert_array_equal(hashes(turned), hashes_in_orientations(thumbnails)[orientation])


def test_the_orientations_are_different_ones() -> None:
    pixels = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert len({oriented(pixels, orientation).tobytes() for orientation in range(ORIENTATIONS)}) == ORIENTATIONS


def test_pictures_are_like_their_scaled_copies_and_unlike_each_other(thumbnails: NDArray[np.uint8]) -> None:
    small = [leak(bundled(name), scale=0.3) for name in (*TRAINING, *TEST)]
    scaled = np.stack([thumbnail(np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), np.uint8)) for each in small])
    found = alike(hashes(thumbnails), hashes_in_orientations(scaled), distance=6)
    assert {(one, other) for one, other, _ in found} == {(place, place) for place in range(len(small))}
    assert (0, 0, 0) in found


def test_the_distance_counts_different_bits(thumbnails: NDArray[np.uint8]) -> None:
    one = hashes(thumbnails[:1])
    other = one.copy()
    other[0, :5] *= -1
    assert one.shape == (1, BITS)
    assert not alike(one, other[None], distance=4)
    assert alike(one, other[None], distance=5) == [(0, 0, 0)]
