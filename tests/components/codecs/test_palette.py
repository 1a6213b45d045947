from collections.abc import Callable

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.bitstream import parse
from components.codecs.coder import LearnedCoder
from components.codecs.palette import decode_palette, drawing
from components.codecs.tensors import to_tensor
from components.errors import BitstreamError
from components.rate.real_rate import rate_function
from tests.drawings import page

Make = Callable[..., Codec]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def codec(make_codec: Make) -> Codec:
    codec = make_codec("haar_hyper")
    codec.trained_lmbda = 0.01
    return codec


def test_a_photograph_is_no_drawing(photograph: Rgb) -> None:
    assert drawing(photograph) is None
    assert drawing(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 2, 3), (5, 1, 3), (90, 170, 3)])
def test_few_colours_come_back_unchanged(shape: tuple[int, int, int]) -> None:
    rgb = np.repeat(np.random.default_rng(0).integers(0, 2, (*shape[:2], 1), dtype=np.uint8), 3, axis=2)
    rgb = np.repeat(rgb * np.array([200, 100, 5], np.uint8), 4, axis=1)
    drawn = drawing(rgb)
    assert drawn is not None
    coding = drawn.coded(error_weight=1e6)
    assert coding.mse == 0
    assert np.array_equal(decode_palette(coding.sections, *rgb.shape[:2]), rgb)


def test_the_mean_squared_error_is_that_of_the_decoded_picture() -> None:
    rgb = page()
    drawn = drawing(rgb)
    assert drawn is not None
    sizes = []
    for error_weight in (0.0002, 1.0):
        coding = drawn.coded(error_weight)
        decoded = decode_palette(coding.sections, *rgb.shape[:2])
        assert coding.mse == pytest.approx(np.square(decoded.astype(float) - rgb).mean())
        sizes.append(len(coding.sections[0]) // 3)
    assert sizes[0] < sizes[1], "an error that weighs more is worth more colours"


def test_text_gets_a_palette_and_a_photograph_latents(codec: Codec, photograph: Rgb) -> None:
    coder, text = LearnedCoder(codec), page()
    stream = coder.encode(text)
    latents = codec.compress(to_tensor(text))[0]
    assert len(parse(stream).sections) == 2
    assert len(parse(latents).sections) == len(parse(coder.encode(photograph)).sections) == 1
    error = np.square(coder.decode(stream).astype(float) - text).mean()
    assert len(stream) < len(latents)
    assert error < np.square(coder.decode(latents).astype(float) - text).mean()
    with pytest.raises(BitstreamError, match="a palette and no latents"):
        codec.unpack(stream)


def test_codecs_of_papers_and_those_without_a_lambda_have_no_palettes(make_codec: Make, codec: Codec) -> None:
    codec.trained_lmbda = None
    for other in (codec, make_codec("nowcae")):
        assert len(parse(LearnedCoder(other).encode(page(96, 160))).sections) == 1


def test_the_rate_of_a_set_counts_palettes(codec: Codec, photograph: Rgb) -> None:
    pictures = [page(), photograph]
    rate, pixels = rate_function(codec, pictures), sum(rgb[..., 0].size for rgb in pictures)
    for gain in (0.5, 1.0):
        files = [LearnedCoder(codec, gain).encode(rgb) for rgb in pictures]
        assert rate(gain) == 8 * sum(map(len, files)) / pixels


def test_broken_palettes_are_refused() -> None:
    rgb = page(96, 160)
    drawn = drawing(rgb)
    assert drawn is not None
    colours, indices = drawn.coded(0.1).sections
    for sections in ((b"", indices), (colours[:-1], indices), (colours * 50, indices), (colours, indices[:-2])):
        with pytest.raises(BitstreamError):
            decode_palette(sections, *rgb.shape[:2])
    with pytest.raises(BitstreamError, match="not in the palette"):
        decode_palette((colours[: 3 * (len(colours) // 3 - 1)], indices), *rgb.shape[:2])
