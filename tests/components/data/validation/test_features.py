import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from components.arrays import Rgb
from components.data.image_files import decode_rgb
from components.data.validation.features import jpeg_quality, measure, reduce
from tests.components.data.validation.made import TEST, TRAINING, bundled, jpeg, png

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def page(size: int) -> Rgb:
    picture = Image.new("RGB", (512, 384), "white")
    font = ImageFont.truetype(str(FONT), size)
    for top in range(4, 384, round(1.4 * size)):
        ImageDraw.Draw(picture).text((4, top), "The quick brown fox jumps over 13 lazy dogs. " * 3, "black", font)
    return np.array(picture)


@pytest.mark.parametrize("quality", range(10, 101, 5))
def test_the_quality_of_a_jpeg_is_libjpegs(quality: int) -> None:
    assert jpeg_quality(jpeg(bundled("chelsea.png"), quality)) == quality


def test_a_file_that_is_no_jpeg_has_no_quality() -> None:
    assert jpeg_quality(png(bundled("chelsea.png"))) is None


@pytest.mark.parametrize("quality", [30, 60, 95])
@pytest.mark.parametrize("size", [9, 14, 20])
def test_print_looks_like_print_after_jpeg_too(size: int, quality: int) -> None:
    content = jpeg(page(size), quality)
    assert measure(decode_rgb(content), content).text > 0.25


@pytest.mark.parametrize("name", [*TRAINING, *TEST, "brick.png", "gravel.png"])
def test_photographs_do_not_look_like_print_or_blank(name: str) -> None:
    found = measure(bundled(name), b"")
    assert found.text < 0.05
    assert found.flat < 0.5


def test_one_edge_is_no_print() -> None:
    rgb = np.full((256, 256, 3), 250, np.uint8)
    rgb[:, 100:] = 10
    assert measure(rgb, b"").text == 0


def test_a_blank_picture_is_flat() -> None:
    assert measure(np.full((100, 100, 3), 77, np.uint8), b"").flat == 1
    noise = np.random.default_rng(0).integers(70, 80, (96, 96, 3)).astype(np.uint8)
    assert measure(noise, b"").flat == 0


def test_a_grey_picture_is_grey_after_jpeg_too() -> None:
    grey = np.repeat(bundled("coffee.png").mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    for content in (png(grey), jpeg(grey, 50)):
        found = measure(decode_rgb(content), content)
        assert found.grey > 0.99
        assert found.colourfulness < 1
    coloured = measure(bundled("coffee.png"), b"")
    assert coloured.grey < 0.01
    assert coloured.colourfulness > 50


def test_mean_and_contrast_are_those_of_luma() -> None:
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:32] = 200
    found = measure(rgb, b"")
    assert (found.mean, found.contrast) == (100, 100)
    assert (found.width, found.height, found.pixels) == (64, 64, 4096)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (17, 16)])
def test_tiny_pictures_have_all_figures(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = measure(rgb, b"")
    assert 0 <= found.flat <= 1
    assert 0 <= found.text <= 1


def test_a_16_bit_picture_is_measured_as_it_is_decoded() -> None:
    deep = (bundled("camera.png")[..., 0].astype(np.uint16) << 8) + 99
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    found = measure(decode_rgb(file.getvalue()), file.getvalue())
    assert found.mean == measure(bundled("camera.png"), b"").mean
    assert found.grey == 1


def test_reduced_pictures_keep_their_shape() -> None:
    assert reduce(bundled("coffee.png"), 300).shape == (200, 300, 3)
    assert reduce(bundled("coffee.png"), 600) is bundled("coffee.png")
    assert reduce(np.zeros((2000, 1), np.uint8), 512).shape == (512, 1)
