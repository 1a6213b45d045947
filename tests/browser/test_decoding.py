"""The page decodes what Python encodes: to equal latents, and to the same picture but for rounding."""

from collections.abc import Callable
from time import monotonic

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.bitstream import Bitstream, parse
from components.codecs.palette import PALETTE_SECTIONS, drawing
from pipeline.paths import CHECKOUT
from tests.browser.conftest import Built
from tests.browser.viewer import Viewer
from tests.drawings import page as drawn_page
from tests.golden.make import FOLDER as GOLDEN

CODECS = [
    "haar_hyper", "haar_hyper_hierarchical", "minnen", "pmsc_hyper", "gmm", "atc",
    "factorized", "pmsc", "wcae", "nowcae",
]  # fmt: skip
"""Every coder, context model and distribution of exported codecs, with the channel flags of pmsc."""
FLAGSHIP = str(CHECKOUT / "results" / "flagship" / "champion.safetensors")


def astronaut() -> Rgb:
    from skimage import data

    rgb: Rgb = data.astronaut()
    return rgb


PICTURES: dict[str, Callable[[], Rgb]] = {
    "odd": lambda: astronaut()[:77, :131],
    "tiles": lambda: astronaut()[:300, :402],
    "one pixel": lambda: astronaut()[:1, :1],
    "a line": lambda: astronaut()[:1, :200],
}


def assert_equal_in(viewer: Viewer, codec: Built, stream: bytes) -> None:
    """Latents are equal, if it has any, and pixels are within 1."""
    if len(parse(stream).sections) != PALETTE_SECTIONS:
        np.testing.assert_array_equal(viewer.latents(stream), codec.python.latents(stream).ravel())
    viewer.open(stream)
    expected = codec.python.decode(stream)
    shown = viewer.pixels()
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", CODECS)
def test_latents_are_equal_and_pixels_within_one(
    name: str, built: Callable[[str], Built], open_page: Callable[..., Viewer]
) -> None:
    codec = built(name)
    viewer = open_page(codec.folder)
    streams = [codec.python.encode(picture()) for picture in PICTURES.values()]
    streams += [codec.python.encode(PICTURES["odd"](), gain=gain) for gain in (0.3, 3.0)]
    escapes = [(GOLDEN / name / f"{picture}.rw").read_bytes() for picture in ("face", "cup")]
    assert len({parse(stream).sections for stream in streams}) == len(streams)
    for stream in streams + escapes:
        assert_equal_in(viewer, codec, stream)


@pytest.mark.parametrize(("size", "colours"), [((1, 1), 1), ((40, 60), 2), ((130, 600), 6), ((361, 1030), 64)])
def test_drawings_are_equal(
    size: tuple[int, int], colours: int, built: Callable[[str], Built], open_page: Callable[..., Viewer]
) -> None:
    codec, (height, width) = built("haar_hyper"), size
    drawn = drawing(drawn_page(*size))
    assert drawn
    sections = drawn.with_colours(colours).sections
    stream = Bitstream(codec.python.name, codec.python.model_hash, width, height, sections).pack()
    viewer = open_page(codec.folder)
    viewer.open(stream)
    np.testing.assert_array_equal(viewer.pixels(), codec.python.decode(stream))


def test_the_trained_codec_decodes_a_picture_of_kodaks_size(
    built: Callable[[str], Built], open_page: Callable[..., Viewer]
) -> None:
    codec = built(FLAGSHIP)
    whole = astronaut()
    stream = codec.python.encode(np.concatenate((whole, whole[:, 511:255:-1]), axis=1))
    viewer = open_page(codec.folder)
    assert_equal_in(viewer, codec, stream)
    start = monotonic()
    viewer.open(stream)
    print(f"\n768x512: {viewer.message} From the choice of the file to the picture: {monotonic() - start:.2f} s.")


def test_a_codec_that_the_page_has_no_decoder_for_is_refused(
    built: Callable[[str], Built], open_page: Callable[..., Viewer]
) -> None:
    viewer = open_page(built("atc_progressive").folder)
    viewer.open((GOLDEN / "atc_progressive" / "face.rw").read_bytes())
    assert viewer.error == "This page has no decoder of kind trit_planes."
