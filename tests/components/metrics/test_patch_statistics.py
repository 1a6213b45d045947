import io

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from components.arrays import Rgb
from components.metrics.patch_statistics import sliced_wasserstein
from components.metrics.quality import psnr_db


@pytest.fixture(scope="module")
def grass() -> Rgb:
    return np.repeat(data.grass()[:256, :257, None], 3, axis=2)


def blurred(rgb: Rgb, sigma: float) -> Rgb:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma), np.uint8)


def noisy(rgb: Rgb, deviation: float) -> Rgb:
    noise = np.random.default_rng(1).normal(0, deviation, rgb.shape)
    return np.clip(rgb + noise, 0, 255).round().astype(np.uint8)


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=quality)
    return np.array(Image.open(out))


def test_more_harm_is_farther(photograph: Rgb, grass: Rgb) -> None:
    for rgb in (photograph, grass):
        assert sliced_wasserstein(rgb, rgb.copy()) == 0
        for harmed in (
            [blurred(rgb, sigma) for sigma in (0.5, 1, 2, 4, 8)],
            [noisy(rgb, deviation) for deviation in (3, 10, 30)],
            [jpeg(rgb, quality) for quality in (90, 30, 5)],
        ):
            distances = [sliced_wasserstein(rgb, one) for one in harmed]
            assert distances == sorted(distances)
            assert distances[0] > 2
            assert distances[-1] > 2.5 * distances[0]


def test_texture_out_of_place_is_nearer_than_a_blur_of_the_same_psnr(grass: Rgb) -> None:
    original, shifted = grass[:, :-1], grass[:, 1:]
    smooth = blurred(original, 1.3)
    figures = [psnr_db(original, one) for one in (shifted, smooth)]
    assert figures[0] is not None
    assert figures[1] is not None
    assert figures[0] < figures[1] < 23, "PSNR prefers the blur"
    assert sliced_wasserstein(original, smooth) > 4 * sliced_wasserstein(original, shifted)


def test_the_lost_contrast_of_a_blur_counts(grass: Rgb) -> None:
    """A fine band of nothing is as far as the original's projections are from zero: 0.8 deviations, if Gaussian."""
    flat = np.full_like(grass, 128)
    assert 600 < sliced_wasserstein(grass, flat) < 900


def test_brightness_is_no_texture(grass: Rgb) -> None:
    assert sliced_wasserstein(grass, grass + np.uint8(5)) < 1


def test_what_a_flat_picture_lacks_is_no_texture(grass: Rgb) -> None:
    flat = np.full_like(grass, 128)
    assert sliced_wasserstein(flat, flat + (np.indices(flat.shape[:2]).sum(0) % 2)[..., None].astype(np.uint8)) < 500
    assert sliced_wasserstein(flat, grass) > 1000


@pytest.mark.parametrize("shape", [(32, 32), (16, 16), (16, 40), (33, 31)])
def test_small_pictures(shape: tuple[int, int], grass: Rgb) -> None:
    rgb = np.ascontiguousarray(grass[100 : 100 + shape[0], 100 : 100 + shape[1]])
    near, far = (sliced_wasserstein(rgb, blurred(rgb, sigma)) for sigma in (0.5, 2))
    assert 0 < near < far


def test_the_same_every_time(photograph: Rgb) -> None:
    other = blurred(photograph, 1)
    assert sliced_wasserstein(photograph, other) == sliced_wasserstein(photograph, other)
