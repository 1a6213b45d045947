"""Perceptual hashes: pictures that look alike have hashes with few different bits, whatever their size and format.

The hash is the signs of the low frequencies of a small grey thumbnail, without its mean (after Zauner 2010). A flip
changes signs and a transposition changes places, so that the hashes in all 8 orientations come from one transform.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL = 64
"""Side in pixels of the thumbnail of a picture, which is squeezed into a square."""
ORIENTATIONS = 8
"""Quarter turns of a picture and of its mirror image: orientation n is n % 4 quarter turns, after a flip if n > 3."""
BITS = 63
"""Bits of a hash."""

_SIDE = 8
_SMALL = 32


def thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W) squeezed into a square of `THUMBNAIL` pixels."""
    return np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


def oriented(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture (H, W) in one of the 8 orientations."""
    return np.rot90(pixels[:, ::-1] if orientation > 3 else pixels, orientation % 4)


def hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Hashes of thumbnails (N, 64, 64): (N, 63) of -1 and 1."""
    return _signs(_low_frequencies(thumbnails))


def hashes_in_orientations(thumbnails: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Hashes of thumbnails (N, 64, 64) in all orientations: (8, N, 63) of -1 and 1."""
    low = _low_frequencies(thumbnails)
    odd = np.where(np.arange(_SIDE) % 2, -1.0, 1.0).astype(np.float32)
    found = []
    for flipped in (low, low * odd):
        turned = flipped
        for _ in range(4):
            found.append(_signs(turned))
            turned = turned.swapaxes(1, 2) * odd[:, None]  # a quarter turn to the left: transposed, then upside down
    return np.stack(found)


def alike(first: NDArray[np.int8], second: NDArray[np.int8], distance: int) -> list[tuple[int, int, int]]:
    """Pairs of hashes with few different bits.

    Args:
        first: hashes (N, 63).
        second: hashes in orientations (8, M, 63).
        distance: largest number of different bits.

    Returns:
        For each pair the place in `first`, the place in `second`, and the orientation of the second.
    """
    # The product of two hashes is their equal bits less their different ones: exact in float32, and fast.
    least = BITS - 2 * distance
    left = first.astype(np.float32)
    found: list[tuple[int, int, int]] = []
    for orientation, right in enumerate(second.astype(np.float32)):
        for start in range(0, len(left), _ROWS):
            rows, columns = np.nonzero(left[start : start + _ROWS] @ right.T >= least)
            found += [(start + int(row), int(column), orientation) for row, column in zip(rows, columns, strict=True)]
    return found


_ROWS = 1024
"""Hashes compared with all others at a time: 240 MB for 60,000 pictures."""


def _low_frequencies(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The 8x8 lowest frequencies (N, 8, 8) of the cosine transform of thumbnails."""
    count, factor = len(thumbnails), THUMBNAIL // _SMALL
    small = thumbnails.reshape(count, _SMALL, factor, _SMALL, factor).mean(axis=(2, 4), dtype=np.float32)
    places = (np.arange(_SMALL) + 0.5) * np.pi / _SMALL
    basis = np.cos(np.arange(_SIDE)[:, None] * places).astype(np.float32)
    return np.asarray(basis @ small @ basis.T, np.float32)


def _signs(low: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.where(low.reshape(len(low), -1)[:, 1:] > 0, 1, -1).astype(np.int8)
