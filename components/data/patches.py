"""Training patches: a picture is scaled down, rotated by any angle, and cropped to valid pixels (albumentations)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import albumentations as A
import cv2
import numpy as np

from ..arrays import Rgb
from .shard_spec import Augmentation


@dataclass(frozen=True)
class Patch:
    """A patch and where it comes from in its picture."""

    rgb: Rgb
    """(patch, patch, 3) uint8."""
    scale: float
    """The picture was scaled by this factor."""
    angle: float
    """Degrees that the picture was rotated by, counter-clockwise."""
    x: int
    """Left edge of the crop, in pixels of the scaled and rotated picture."""
    y: int
    """Upper edge of the crop."""

    def facts(self) -> dict[str, Any]:
        """Scale, angle and offset of the crop, for the sample's JSON file."""
        return {"scale": self.scale, "angle": self.angle, "offset": [self.x, self.y]}


def cut_patches(rgb: Rgb, augmentation: Augmentation, count: int, seed: tuple[int, str]) -> Iterator[Patch]:
    """Random patches of a picture, the same for the same seed; more of them leave the first ones as they are.

    A patch whose rotated picture has too few valid pixels is drawn upright. A picture smaller than a patch gives none.
    A patch that is drawn twice comes once.

    Args:
        rgb: uint8 (H, W, 3).
        augmentation: how patches are drawn.
        count: patches of the picture.
        seed: a number, and the sha256 of the picture's file.
    """
    side = augmentation.patch
    if min(rgb.shape[:2]) < side:
        return
    number, sha256 = seed
    largest = 1.0 if augmentation.largest_side is None else min(1.0, augmentation.largest_side / min(rgb.shape[:2]))
    seen = set[tuple[float, float, int, int]]()
    for index in range(count):
        random = np.random.default_rng([number, int(sha256[:15], 16), index])
        scale = max(largest * random.uniform(augmentation.smallest_scale, 1), side / min(rgb.shape[:2]))
        angle = 0.0
        if random.random() < augmentation.rotated_share:
            angle = random.uniform(-augmentation.largest_angle, augmentation.largest_angle)
        valid = _rotate(_scale(rgb, scale), angle)
        if min(valid.shape[:2]) < side:
            angle, valid = 0.0, _scale(rgb, scale)
        x, y = (int(random.integers(0, limit - side + 1)) for limit in (valid.shape[1], valid.shape[0]))
        if (scale, angle, x, y) in seen:
            continue
        seen.add((scale, angle, x, y))
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
