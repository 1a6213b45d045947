"""Texture of a decoded picture: the sliced Wasserstein distance (SWD) of patches, with no need of alignment."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..arrays import Rgb

MIN_SIDE = 16
"""Smallest side of a level of the pyramid, in pixels."""

_PATCH = 7
_PATCHES = 2048
_DIRECTIONS = 128
_LEAST_DEVIATION = 1.0  # grey levels; smaller deviations are rounding, not texture


def sliced_wasserstein(original: Rgb, decoded: Rgb) -> float:
    """The sliced Wasserstein distance of the 7x7 patches of two pictures, in thousandths of the original's deviation.

    Zero for identical pictures; lower is better. As in Karras et al. 2018 (arXiv 1710.10196, section 5), for single
    pictures: on each level of a Laplacian pyramid, patches are projected on random directions of length 1, and both
    sets of projections are sorted. The distance is the mean absolute difference, averaged over directions and levels,
    times 1000. Up to 2048 positions of a level are compared, the same in both pictures, with the same directions in
    every call.

    Departures: a channel of either picture is divided by the deviation of the original's channel. Division by its own
    would hide the contrast that a blur takes away. The pyramid ends at 16 pixels a side: below that a difference is a
    drift in brightness, not texture.

    Args:
        original: (H, W, 3), at least 16x16.
        decoded: (H, W, 3).
    """
    import cv2

    random = np.random.default_rng(0)
    distances = []
    for one, other in zip(_laplacian_pyramid(original), _laplacian_pyramid(decoded), strict=True):
        height, width = (side - _PATCH + 1 for side in one.shape[:2])
        places = random.choice(height * width, min(_PATCHES, height * width), replace=False)
        directions = random.standard_normal((_DIRECTIONS, 3, _PATCH**2), np.float32)
        directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)
        _, deviations = cv2.meanStdDev(one)  # (3, 1)
        directions /= np.maximum(deviations, _LEAST_DEVIATION).astype(np.float32)
        of_one, of_other = (_sorted_projections(level, divmod(places, width), directions) for level in (one, other))
        distances.append(float(np.abs(of_one - of_other).mean()))
    return 1000 * sum(distances) / len(distances)


def _laplacian_pyramid(picture: Rgb) -> Iterator[NDArray[np.float32]]:
    """The levels (h, w, 3) of a picture's Laplacian pyramid, the finest first."""
    import cv2

    low = picture.astype(np.float32)
    while min(low.shape[:2]) >= MIN_SIDE:
        coarser = cv2.pyrDown(low)
        yield low - cv2.pyrUp(coarser, dstsize=low.shape[1::-1])
        low = coarser.astype(np.float32, copy=False)


def _sorted_projections(
    level: NDArray[np.float32], places: tuple[NDArray[np.int64], ...], directions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(directions, positions): the projections of the patches at these positions, sorted for each direction."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (_PATCH, _PATCH), axis=(0, 1))
    patches = windows[places].reshape(len(places[0]), -1)
    return np.sort(directions.reshape(len(directions), -1) @ patches.T, axis=1)
