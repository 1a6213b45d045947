"""Training patches of a picture: random squares, scaled down and rotated, as one composition of albumentations.

    upright:  window of the picture --area averaging--> patch
    rotated:  larger window --area averaging--> --rotation, bicubic--> its middle, which has valid pixels alone

Only the window is scaled and rotated, so that a patch of a large picture costs no more than one of a small picture.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import albumentations as A
import cv2

from ..arrays import Rgb
from .shard_spec import Augmentation

_MARGIN = 4  # pixels that bicubic interpolation reads around a rotated patch, both sides together


@dataclass(frozen=True)
class Patch:
    """A patch and where it comes from in its picture."""

    rgb: Rgb
    """(patch, patch, 3) uint8."""
    scale: float
    """The window was scaled by this factor."""
    angle: float
    """Degrees that the window was rotated by, counter-clockwise."""
    crop: tuple[int, int, int, int]
    """The window: its left, upper, right and lower edge, in pixels of the picture."""

    def facts(self) -> dict[str, Any]:
        """Scale, angle and window, for the sample's JSON file; `cut_again` takes them."""
        return {"scale": self.scale, "angle": self.angle, "crop": list(self.crop)}


def cut_patches(rgb: Rgb, augmentation: Augmentation, count: int, seed: tuple[int, str]) -> Iterator[Patch]:
    """Random patches of a picture, the same for the same seed; more of them leave the first ones as they are.

    A picture too small for rotated patches gives upright ones, and one smaller than a patch gives none. A patch that is
    drawn twice comes once.

    Args:
        rgb: uint8 (H, W, 3).
        augmentation: how patches are drawn.
        count: patches of the picture.
        seed: a number, and the sha256 of the picture's file.
    """
    if min(rgb.shape[:2]) < augmentation.patch:
        return
    composition = _composition(augmentation, min(rgb.shape[:2]))
    seen = set[tuple[float, tuple[int, int, int, int]]]()
    for index in range(count):
        digest = hashlib.sha256(f"{seed[0]}:{seed[1]}:{index}".encode()).digest()
        composition.set_random_seed(int.from_bytes(digest))
        drawn = composition(image=rgb)
        patch = _patch(drawn["image"], dict(drawn["applied_transforms"]))
        if (patch.angle, patch.crop) not in seen:
            seen.add((patch.angle, patch.crop))
            yield patch


def cut_again(rgb: Rgb, side: int, scale: float, angle: float, crop: tuple[int, int, int, int]) -> Rgb:
    """The patch that the facts of a sample name, to the byte.

    Args:
        rgb: its picture.
        side: of the patch.
        scale: of the window, as in the sample's JSON file; so are the others.
        angle: of the window.
        crop: edges of the window.
    """
    left, top, right, bottom = crop
    size = round(scale * (bottom - top))
    steps = [A.Crop(left, top, right, bottom), A.Resize(size, size, interpolation=cv2.INTER_AREA)]
    if size != side:
        steps += [_rotation(angle, angle), A.CenterCrop(side, side)]
    again: Rgb = A.Compose(steps)(image=rgb)["image"]
    return again


def _composition(augmentation: Augmentation, shorter_side: int) -> A.Compose:
    """The transforms of a picture whose shorter side has so many pixels, at least those of a patch."""
    side, largest_angle = augmentation.patch, augmentation.largest_angle
    limit = min(shorter_side, augmentation.largest_side or shorter_side)

    def window(size: int, p: float = 1) -> A.RandomSizedCrop:
        """Squares of the picture that are scaled to `size` pixels a side."""
        smallest = min(shorter_side, math.ceil(size * shorter_side / limit))
        largest = min(shorter_side, math.floor(size * shorter_side / limit / augmentation.smallest_scale))
        return A.RandomSizedCrop((smallest, max(smallest, largest)), (size, size), interpolation=cv2.INTER_AREA, p=p)

    size = _rotated_size(side, largest_angle)
    share = augmentation.rotated_share if size <= limit else 0.0
    choice: list[A.BasicTransform | A.Sequential] = [window(side, 1 - share)]
    if share > 0:
        rotated = (window(size), _rotation(-largest_angle, largest_angle), A.CenterCrop(side, side))
        choice.append(A.Sequential(rotated, p=share))
    return A.Compose([A.OneOf(choice, p=1)], save_applied_params=True)


def _rotated_size(side: int, largest_angle: float) -> int:
    """Side of a square that, rotated by up to so many degrees, holds a patch in its middle."""
    angle = math.radians(min(largest_angle, 45.0))
    size = math.ceil(side * (math.sin(angle) + math.cos(angle))) + _MARGIN
    return size + (size - side) % 2  # so that the patch has the centre of the rotation


def _rotation(smallest: float, largest: float) -> A.Affine:
    return A.Affine(rotate=(smallest, largest), interpolation=cv2.INTER_CUBIC, p=1)


def _patch(rgb: Rgb, applied: dict[str, dict[str, Any]]) -> Patch:
    """A patch with the parameters that albumentations tells, by the name of the transform."""
    left, top, right, bottom = (int(edge) for edge in applied["RandomSizedCrop"]["crop_coords"])
    angle, size = 0.0, rgb.shape[0]
    if "Affine" in applied:
        angle, size = applied["Affine"]["rotate"], applied["Affine"]["shape"][0]
    return Patch(rgb, size / (bottom - top), angle, (left, top, right, bottom))
