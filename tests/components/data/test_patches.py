import hashlib
import json
import math

import cv2
import numpy as np
import pytest

from components.arrays import Rgb
from components.data.patches import Patch, cut_again, cut_patches
from components.data.shard_spec import Augmentation

SHA = hashlib.sha256(b"a picture").hexdigest()
USUAL = Augmentation(patch=48, smallest_scale=0.6, largest_angle=45.0, rotated_share=0.5)


def augmentation(patch: int, smallest_scale: float, largest_angle: float, rotated_share: float) -> Augmentation:
    return Augmentation(
        patch=patch, smallest_scale=smallest_scale, largest_angle=largest_angle, rotated_share=rotated_share
    )


def drawn(rgb: Rgb, how: Augmentation = USUAL, count: int = 12, seed: int = 1) -> list[Patch]:
    return list(cut_patches(rgb, how, count, (seed, SHA)))


def test_patches_are_what_was_asked_for(photograph: Rgb) -> None:
    found = drawn(photograph, count=20)
    assert len(found) == 20
    for patch in found:
        assert patch.rgb.shape == (48, 48, 3)
        assert patch.rgb.dtype == np.uint8
        assert 0.6 <= patch.scale <= 1
        assert abs(patch.angle) <= 45
    assert len({p.rgb.tobytes() for p in found}) == 20
    share = np.mean([p.angle != 0 for p in found])
    assert 0.2 < share < 0.8
    assert min(p.angle for p in found) < 0 < max(p.angle for p in found)


def test_the_same_seed_draws_the_same_patches(photograph: Rgb) -> None:
    first, again = drawn(photograph), drawn(photograph)
    assert [p.facts() for p in first] == [p.facts() for p in again]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(first, again, strict=True))
    others = (drawn(photograph, seed=2), list(cut_patches(photograph, USUAL, 12, (1, SHA[::-1]))))
    for other in others:
        assert [p.facts() for p in other] != [p.facts() for p in first]


def test_more_patches_leave_the_first_ones_alone(photograph: Rgb) -> None:
    few, many = drawn(photograph, count=3), drawn(photograph, count=6)
    assert [p.facts() for p in few] == [p.facts() for p in many[:3]]


def test_an_unrotated_unscaled_patch_is_a_crop(photograph: Rgb) -> None:
    for patch in drawn(photograph, augmentation(48, 1.0, 45.0, 0.0)):
        assert (patch.scale, patch.angle) == (1.0, 0.0)
        left, top, right, bottom = patch.crop
        assert np.array_equal(patch.rgb, photograph[top:bottom, left:right])


def test_crops_reach_the_whole_picture() -> None:
    found = drawn(np.zeros((50, 49, 3), np.uint8), augmentation(48, 1.0, 45.0, 0.0), count=60)
    assert {p.crop[0] for p in found} == {0, 1}
    assert {p.crop[1] for p in found} == {0, 1, 2}


@pytest.mark.parametrize("largest_angle", [10.0, 45.0, 180.0])
def test_no_black_corners(largest_angle: float) -> None:
    """A white picture stays white to the last pixel, whatever it was turned by."""
    white = np.full((150, 220, 3), 255, np.uint8)
    found = drawn(white, augmentation(40, 0.6, largest_angle, 1.0), count=40)
    assert sum(p.angle != 0 for p in found) > 30
    for patch in found:
        assert patch.rgb.min() == 255, f"angle {patch.angle}"


def test_rotation_turns_by_the_stated_angle() -> None:
    """A horizontal ramp, turned: its gradient points where the angle says (counter-clockwise is positive)."""
    ramp = np.repeat(np.linspace(0, 255, 300)[None, :, None], 300, 0).repeat(3, 2).astype(np.uint8)
    for patch in drawn(ramp, augmentation(64, 1.0, 40.0, 1.0), count=8):
        grey = patch.rgb[..., 0].astype(float)
        down, right = np.gradient(grey)
        turned = math.degrees(math.atan2(-down.mean(), right.mean()))
        assert turned == pytest.approx(patch.angle, abs=2)


def test_scaling_averages_areas() -> None:
    """A checkerboard of single pixels becomes grey, not an alias of itself."""
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    (patch,) = drawn(board, augmentation(64, 0.5, 0.0, 0.0), count=1)
    assert patch.scale < 1
    assert patch.rgb.std() < board.std() / 2


def test_a_large_picture_is_cut_no_larger_than_its_limit(photograph: Rgb) -> None:
    """Its factors lie between those that make the shorter side half of `largest_side`, and `largest_side` itself."""
    large = np.tile(photograph, (4, 5, 1))  # 640x960
    limited = Augmentation(patch=48, smallest_scale=0.5, largest_side=160, largest_angle=0.0, rotated_share=0.0)
    found = drawn(large, limited, count=40)
    assert all(0.125 <= patch.scale <= 0.25 for patch in found)
    assert max(p.scale for p in found) - min(p.scale for p in found) > 0.1, "each patch has a factor of its own"
    for patch in found:
        left, top, right, bottom = patch.crop
        window = cv2.resize(large[top:bottom, left:right], (48, 48), interpolation=cv2.INTER_AREA)
        assert np.array_equal(window, patch.rgb)
        assert patch.scale == 48 / (right - left), "at the factor it tells"


def test_a_picture_within_the_limit_is_cut_as_without_it(photograph: Rgb) -> None:
    limited = USUAL.model_copy(update={"largest_side": min(photograph.shape[:2])})
    assert [p.facts() for p in drawn(photograph, limited)] == [p.facts() for p in drawn(photograph)]


@pytest.mark.parametrize("shape", [(47, 300, 3), (300, 47, 3), (1, 1, 3)])
def test_a_picture_smaller_than_a_patch_gives_none(shape: tuple[int, int, int]) -> None:
    assert drawn(np.zeros(shape, np.uint8)) == []


def test_a_picture_of_just_a_patch_gives_itself_once() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    (patch,) = drawn(rgb, count=8)  # once, however often it is drawn
    assert (patch.scale, patch.angle, patch.crop) == (1.0, 0.0, (0, 0, 48, 48))
    assert np.array_equal(patch.rgb, rgb)


def test_a_picture_hardly_larger_than_a_patch_is_never_cut_short() -> None:
    for seed in range(5):
        found = drawn(np.full((50, 53, 3), 255, np.uint8), count=10, seed=seed)
        assert len(found) > 1
        assert all(p.rgb.shape == (48, 48, 3) and p.rgb.min() == 255 for p in found)
        assert len({str(p.facts()) for p in found}) == len(found), "no patch comes twice"


@pytest.mark.parametrize("largest_side", [None, 160])
def test_a_patch_is_cut_again_from_its_facts(photograph: Rgb, largest_side: int | None) -> None:
    """From what the JSON file of a sample says, to the byte."""
    how = USUAL.model_copy(update={"largest_side": largest_side})
    found = drawn(np.tile(photograph, (2, 2, 1)), how, count=20)
    assert {p.angle != 0 for p in found} == {True, False}
    for patch in found:
        facts = json.loads(json.dumps(patch.facts()))
        assert set(facts) == {"scale", "angle", "crop"}
        assert np.array_equal(cut_again(np.tile(photograph, (2, 2, 1)), 48, **facts), patch.rgb)


def test_draws_do_not_depend_on_each_other() -> None:
    """Albumentations gives each transform a generator of the same seed; scale, angle and place differ all the same."""
    large = np.zeros((400, 600, 3), np.uint8)
    found = drawn(large, augmentation(40, 0.5, 45.0, 0.5), count=400)
    rotated = np.array([(p.scale, p.angle, *p.crop[:2]) for p in found if p.angle != 0])
    correlation = np.corrcoef(rotated, rowvar=False) - np.eye(4)
    assert np.abs(correlation).max() < 0.35
    upright = [p.scale for p in found if p.angle == 0]
    assert abs(np.mean(upright) - rotated[:, 0].mean()) < 0.05
