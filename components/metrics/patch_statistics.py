"""Whether a picture has the texture of another, be it in place or not: what PSNR and SSIM cannot tell."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from components.arrays import Rgb

MIN_SIDE = 16
"""Pixels of the coarsest level."""

_PATCH = 7
_PATCHES = 2048
_DIRECTIONS = 128
_FAINTEST = 1.0  # grey levels: deviations below are rounding, no texture to lose


def sliced_wasserstein(original: Rgb, decoded: Rgb) -> float:
    """The sliced Wasserstein distance between the 7x7 patches of two pictures (H, W, 3) of at least 16x16.

    As Karras et al. 2018 (arXiv 1710.10196, section 5) compare sets of pictures: on each level of a Laplacian pyramid,
    patches are projected on random directions of length 1, and the sorted projections subtracted; the mean absolute
    difference, averaged over directions and levels, times 1000. Zero for identical pictures, lower is better. Up to
    2048 places on a level are compared, the same in both pictures, with the same directions every time.

    Departures: a channel of either picture is divided by the deviation of the ORIGINAL's, not by its own, which
    would make up for the contrast that a blur takes; so the unit is a thousandth of the original's deviation. The mean
    cancels. What is left of the picture below 16 pixels a side, a drift in brightness, is no texture and left out.
    """
    import cv2

    random = np.random.default_rng(0)
    distances = []
    for one, other in zip(_bands(original), _bands(decoded), strict=True):
        height, width = (side - _PATCH + 1 for side in one.shape[:2])
        places = random.choice(height * width, min(_PATCHES, height * width), replace=False)
        directions = random.standard_normal((_DIRECTIONS, 3, _PATCH**2), np.float32)
        directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)
        _, deviations = cv2.meanStdDev(one)  # (3, 1)
        directions /= np.maximum(deviations, _FAINTEST).astype(np.float32)
        of_one, of_other = (_projected(band, divmod(places, width), directions) for band in (one, other))
        distances.append(float(np.abs(of_one - of_other).mean()))
    return 1000 * sum(distances) / len(distances)


def _bands(picture: Rgb) -> Iterator[NDArray[np.float32]]:
    """The levels of the Laplacian pyramid, (h, w, 3), from the finest down."""
    import cv2

    low = picture.astype(np.float32)
    while min(low.shape[:2]) >= MIN_SIDE:
        coarser = cv2.pyrDown(low)
        yield low - cv2.pyrUp(coarser, dstsize=low.shape[1::-1])
        low = coarser.astype(np.float32, copy=False)


def _projected(
    band: NDArray[np.float32], places: tuple[NDArray[np.int64], ...], directions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(directions, places): the projections on each direction, sorted."""
    windows = np.lib.stride_tricks.sliding_window_view(band, (_PATCH, _PATCH), axis=(0, 1))
    patches = windows[places].reshape(len(places[0]), -1)
    return np.sort(directions.reshape(len(directions), -1) @ patches.T, axis=1)
