from collections.abc import Callable

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.codecs.tensors import to_rgb, to_tensor
from components.errors import RatewrightError
from components.evaluation.measure import measure
from components.evaluation.results import summarise
from components.metrics.quality import psnr_db
from components.rate.real_rate import bpp_of
from tests.components.evaluation.coders import Coarse, Zip

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., Codec]


def test_bpp_is_the_length_of_the_real_stream(make_codec: Make, photographs: list[Rgb]) -> None:
    codec = make_codec("wcae")
    pictures = [(f"{k}.png", rgb) for k, rgb in enumerate(photographs[:3])]
    results = measure(LearnedCoder(codec), pictures)
    assert [r.image for r in results] == [name for name, _ in pictures]
    for result, (_, rgb) in zip(results, pictures, strict=True):
        (stream,) = codec.compress(to_tensor(rgb))
        assert result.bytes == len(stream)
        assert (result.height, result.width) == rgb.shape[:2]
        assert result.bpp == 8 * len(stream) / (rgb.shape[0] * rgb.shape[1])
        assert result.psnr_db == psnr_db(rgb, to_rgb(codec.decompress([stream])))
        assert result.encode_s > 0
        assert result.decode_s > 0


class Cropped(Zip):
    """Forgets the last row."""

    def decode(self, data: bytes) -> Rgb:
        return super().decode(data)[:-1]


def test_a_lossless_coder_gives_back_every_pixel(photographs: list[Rgb]) -> None:
    flat = np.zeros_like(photographs[0])
    odd = flat.copy()
    odd[5, 7, 2] = odd[6, 8] = 1
    pictures = [("flat", flat), ("odd", odd)]
    assert [result.psnr_db for result in measure(Zip(), pictures, lossless=True)] == [None, None]
    with pytest.raises(RatewrightError, match=f"not lossless: 2 of the {odd[..., 0].size} pixels of odd came back"):
        measure(Coarse(), pictures, lossless=True)
    with pytest.raises(
        RatewrightError, match=r"not lossless: flat of shape \(128, 150, 3\) came back as \(127, 150, 3"
    ):
        measure(Cropped(), pictures, lossless=True)


def test_the_rate_of_a_coder_is_total_over_total(photographs: list[Rgb]) -> None:
    pictures = [photographs[0], photographs[1][:24, :40]]
    results = measure(Zip(), [(f"{k}", rgb) for k, rgb in enumerate(pictures)])
    assert bpp_of(Zip(), iter(pictures)) == summarise(results).bpp


def test_keep_sees_every_decoded_picture(photographs: list[Rgb]) -> None:
    kept: dict[str, Rgb] = {}
    measure(Coarse(), [("a", photographs[0]), ("b", photographs[1])], kept.__setitem__)
    assert list(kept) == ["a", "b"]
    assert np.array_equal(kept["b"], photographs[1] & 0xF0)


def test_a_coder_with_a_gain_of_its_own(make_codec: Make, photograph: Rgb) -> None:
    codec = make_codec("wcae")
    codec.gain.fill_(2.0)
    assert LearnedCoder(codec).encode(photograph) == LearnedCoder(codec, 2.0).encode(photograph)
    other = LearnedCoder(codec, 0.5).encode(photograph)
    assert len(other) < len(LearnedCoder(codec).encode(photograph))
    assert np.array_equal(LearnedCoder(codec).decode(other), LearnedCoder(codec, 0.5).decode(other))
