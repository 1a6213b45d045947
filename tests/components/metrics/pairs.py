"""Pairs of an original and a spoiled picture that are the same on every machine."""

import numpy as np

from components.arrays import Rgb


def _noisy(rgb: Rgb) -> Rgb:
    noise = np.random.default_rng(1).integers(-20, 21, rgb.shape)
    spoiled: Rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    return spoiled


def _coarse(rgb: Rgb) -> Rgb:
    return (rgb // 32 * 32 + 16).astype(np.uint8)


def _blurred(rgb: Rgb) -> Rgb:
    padded = np.pad(rgb.astype(int), ((2, 2), (2, 2), (0, 0)), mode="edge")
    height, width = rgb.shape[:2]
    shifted = [padded[y : y + height, x : x + width] for y in range(5) for x in range(5)]
    spoiled: Rgb = (np.sum(shifted, axis=0) // 25).astype(np.uint8)
    return spoiled


SPOILED = {"noisy": _noisy, "coarse": _coarse, "blurred": _blurred}


def original(name: str) -> Rgb:
    """A photograph of scikit-image, cut so that neither side is a multiple of 8."""
    from skimage import data

    picture: Rgb = np.ascontiguousarray(getattr(data, name)()[:299, :403])
    return picture
