"""Training patches: a picture scaled down, rotated by any angle, and cropped to valid pixels (albumentations)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import albumentations as A
import cv2
import numpy as np

from components.arrays import Rgb


@dataclass(frozen=True)
class Augmentation:
    """How patches are drawn from a picture.

    patch: side of a patch in pixels.
    smallest_scale: pictures are scaled by a factor drawn from [smallest_scale, 1], by area averaging.
    largest_angle: and rotated by an angle drawn from plus or minus this many degrees.
    rotated_share: share of the patches that are rotated; rotation interpolates, and so blurs a little.
    """

    patch: int
    smallest_scale: float
    largest_angle: float
    rotated_share: float


@dataclass(frozen=True)
class Patch:
    """`rgb` (patch, patch, 3) uint8; `scale`, `angle` in degrees, and the offset (x, y) of the crop."""

    rgb: Rgb
    scale: float
    angle: float
    x: int
    y: int

    def facts(self) -> dict[str, Any]:
        """What a sample's JSON says of it."""
        return {"scale": self.scale, "angle": self.angle, "offset": [self.x, self.y]}


def patches(rgb: Rgb, augmentation: Augmentation, count: int, seed: tuple[int, str]) -> Iterator[Patch]:
    """Up to `count` patches of a uint8 (H, W, 3) picture, the same for the same `seed` (number, picture's sha256).

    A picture smaller than a patch gives none; a draw whose valid pixels are fewer than a patch is drawn
    upright and at the smallest scale that still holds one.
    """
    side = augmentation.patch
    if min(rgb.shape[:2]) < side:
        return
    number, sha256 = seed
    for index in range(count):
        random = np.random.default_rng([number, int(sha256[:15], 16), index])
        scale = max(random.uniform(augmentation.smallest_scale, 1), side / min(rgb.shape[:2]))
        angle = 0.0
        if random.random() < augmentation.rotated_share:
            angle = random.uniform(-augmentation.largest_angle, augmentation.largest_angle)
        valid = _rotate(_scale(rgb, scale), angle)
        if min(valid.shape[:2]) < side:
            angle, valid = 0.0, _scale(rgb, scale)
        x, y = (int(random.integers(0, limit - side + 1)) for limit in (valid.shape[1], valid.shape[0]))
        crop = A.Crop(x_min=x, y_min=y, x_max=x + side, y_max=y + side)
        yield Patch(crop(image=valid)["image"], round(scale, 6), round(angle, 6), x, y)


def _scale(rgb: Rgb, scale: float) -> Rgb:
    height, width = (max(1, round(side * scale)) for side in rgb.shape[:2])
    scaled: Rgb = A.Resize(height, width, interpolation=cv2.INTER_AREA)(image=rgb)["image"]
    return scaled


def _rotate(rgb: Rgb, angle: float) -> Rgb:
    if angle == 0:
        return rgb
    rotation = A.Rotate(
        (angle, angle), interpolation=cv2.INTER_CUBIC, rotate_method="largest_box", crop_border=True, p=1
    )
    rotated: Rgb = rotation(image=rgb)["image"]
    return rotated
