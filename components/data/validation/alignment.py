"""Two pictures laid over each other, and how far their pixels agree where they overlap."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

MIN_OVERLAP = 24
"""Pixels squared that two pictures must share to be compared."""
MIN_CORRELATION = 0.8
"""Correlation of pixels from which two aligned pictures show the same."""
MIN_DETAIL = 0.5
"""Correlation of their detail, without which smooth pictures agree by chance."""

_ERROR = 4.0  # pixels by which a matched point may lie off, at the longer side of 512 pixels
_MIN_INLIERS = 5
_DETAIL = 3.0  # deviation in pixels of the blur whose difference is detail
_SCALES = 0.1, 10.0


@dataclass(frozen=True)
class Agreement:
    """How far two aligned pictures agree."""

    correlation: float
    """Of the pixels, -1 to 1."""
    detail: float
    """Of the pixels less their blurred copies, -1 to 1."""

    @property
    def is_same(self) -> bool:
        """Whether both show the same."""
        return self.correlation >= MIN_CORRELATION and self.detail >= MIN_DETAIL


def similarity(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """The turn, scale and shift (2, 3) that takes most of the points `source` (N, 2) to `target` (N, 2).

    None where no five points agree, or the scale is beyond ten.
    """
    if len(source) < _MIN_INLIERS:
        return None
    found, inliers = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_ERROR, maxIters=2000, confidence=0.999
    )
    if found is None:
        return None
    inside = inliers[:, 0].astype(bool)
    places = {(round(float(x)), round(float(y))) for x, y in target[inside]}  # one place has several features
    scale = float(np.hypot(found[0, 0], found[1, 0]))
    if len(places) < _MIN_INLIERS or not _SCALES[0] <= scale <= _SCALES[1]:
        return None
    return np.asarray(found, np.float64)


def agreement(source: Grey, target: Grey, transform: NDArray[np.float64]) -> Agreement | None:
    """How far two pictures agree where they overlap.

    Args:
        source: a picture (H, W).
        target: another one.
        transform: what takes points of the first to points of the second, from `similarity`.

    Returns:
        The agreement at the resolution of the coarser one; None where they hardly overlap.
    """
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    if scale > 1:  # the source is coarser
        return agreement(target, source, cv2.invertAffineTransform(transform))
    height, width = source.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
    # Pixels have their centres at whole numbers: a scaled picture's lie elsewhere by half a pixel less.
    factors = np.array([width / size[0], height / size[1]])
    linear = transform[:, :2] * factors
    moved = np.column_stack([linear, transform[:, 2] + transform[:, :2] @ ((factors - 1) / 2)])
    shape = target.shape[1], target.shape[0]
    warped = cv2.warpAffine(small, moved, shape, flags=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(np.full(small.shape, 255, np.uint8), moved, shape, flags=cv2.INTER_LINEAR) == 255
    return correlations(warped, target, inside)


def correlations(first: Grey, second: Grey, inside: NDArray[np.bool_] | None = None) -> Agreement | None:
    """The agreement of two pictures of one size, where `inside` holds; None where that is too little."""
    inside = np.ones(first.shape, np.bool_) if inside is None else inside
    if inside.sum() < MIN_OVERLAP**2:
        return None
    left, right = (each.astype(np.float32) for each in (first, second))
    weight = inside.astype(np.float32)
    detail = _correlation(_detail(left, weight)[inside], _detail(right, weight)[inside])
    return Agreement(_correlation(left[inside], right[inside]), detail)


def _detail(pixels: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels less their blur, which takes nothing from outside of `weight`."""
    blurred = cv2.GaussianBlur(pixels * weight, (0, 0), _DETAIL)
    return np.asarray(pixels - blurred / np.maximum(cv2.GaussianBlur(weight, (0, 0), _DETAIL), 1e-3), np.float32)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    left, right = first - first.mean(), second - second.mean()
    power = float(np.sqrt(np.sum(left * left) * np.sum(right * right)))
    return float(np.sum(left * right)) / power if power > 0 else 0.0
