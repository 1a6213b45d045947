"""SIFT features (Lowe 2004) of pictures, which find a part of one picture in another at any scale and angle."""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

FEATURES = 600
"""Features of a picture, at the most."""
MIN_SIDE = 48
"""Shorter side in pixels of a picture with features; smaller ones are compared whole."""

_CONTRAST = 0.015  # OpenCV's default, 0.04, finds too few in soft pictures
_CELLS, _ANGLES = 4, 8  # a descriptor has 4x4 histograms of 8 angles


@dataclass(frozen=True)
class LocalFeatures:
    """Features of one picture, strongest first."""

    points: NDArray[np.float32]
    """(N, 2): x and y in pixels of the grey picture that they were found in."""
    descriptors: NDArray[np.uint8]
    """(N, 128)."""

    @classmethod
    def of(cls, grey: NDArray[np.uint8]) -> Self:
        """The features of a picture (H, W)."""
        if min(grey.shape) < MIN_SIDE:
            return cls(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
        points, descriptors = cv2.SIFT.create(nfeatures=FEATURES, contrastThreshold=_CONTRAST).detectAndCompute(
            grey, None
        )
        if descriptors is None:
            return cls(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
        order = sorted(range(len(points)), key=lambda place: -points[place].response)[:FEATURES]
        found = np.array([points[place].pt for place in order], np.float32)
        return cls(found, descriptors[order].astype(np.uint8))

    def mirrored(self, width: int) -> Self:
        """The features of the mirror image of a picture that is `width` pixels wide.

        A mirror image turns the rows of a descriptor's cells and its angles around; nothing else changes.
        """
        cells = self.descriptors.reshape(-1, _CELLS, _CELLS, _ANGLES)
        turned = cells[:, ::-1, :, (-np.arange(_ANGLES)) % _ANGLES]
        points = self.points.copy()
        points[:, 0] = width - 1 - points[:, 0]
        return type(self)(points, turned.reshape(-1, _CELLS * _CELLS * _ANGLES))

    def strongest(self, count: int) -> Self:
        """The first `count` features."""
        return type(self)(self.points[:count], self.descriptors[:count])

    def unit(self) -> NDArray[np.float32]:
        """The descriptors as unit vectors whose product compares histograms (RootSIFT, Arandjelović 2012)."""
        plain = self.descriptors.astype(np.float32)
        return np.asarray(np.sqrt(plain / np.maximum(plain.sum(axis=1, keepdims=True), 1)), np.float32)
