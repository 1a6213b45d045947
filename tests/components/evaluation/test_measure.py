import dataclasses
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.base import Codec, to_rgb, to_tensor
from components.codecs.coder import LearnedCoder
from components.errors import CalibrationError, RatewrightError
from components.evaluation.measure import measure, summarise
from components.metrics.quality import psnr_db
from components.rate.gain_search import bpp_of, gain_at, rate_over_gain

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., Codec]


class Zip:
    """A lossless coder whose files anyone can count."""

    def encode(self, rgb: Rgb) -> bytes:
        return bytes([rgb.shape[0], rgb.shape[1]]) + zlib.compress(rgb.tobytes())

    def decode(self, data: bytes) -> Rgb:
        return np.frombuffer(zlib.decompress(data[2:]), np.uint8).reshape(data[0], data[1], 3)


class Coarse(Zip):
    """Drops the low bits."""

    def encode(self, rgb: Rgb) -> bytes:
        return super().encode(rgb & np.uint8(0xF0))


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


def test_the_gain_that_is_measured_is_the_one_that_a_checkpoint_holds(make_codec: Make, photographs: list[Rgb]) -> None:
    codec = make_codec("wcae")
    own = rate_over_gain(codec, photographs[:2])(1.0)
    found = gain_at(codec, photographs[:2], 0.8 * own, 0.02)
    assert found != 1.0
    codec.gain.fill_(found)
    assert codec.gain.item() == found


def test_a_set_is_total_over_total(photographs: list[Rgb]) -> None:
    pictures = [("large", photographs[0]), ("small", photographs[1][:24, :40])]
    results = measure(Coarse(), pictures)
    point = summarise(results)
    pixels = [rgb.shape[0] * rgb.shape[1] for _, rgb in pictures]
    sizes = [len(Coarse().encode(rgb)) for _, rgb in pictures]
    assert (point["images"], point["pixels"], point["bytes"]) == (2, sum(pixels), sum(sizes))
    assert point["bpp"] == 8 * sum(sizes) / sum(pixels)
    assert point["bpp_mean"] == pytest.approx(sum(8 * s / p for s, p in zip(sizes, pixels, strict=True)) / 2)
    assert point["bpp"] != pytest.approx(point["bpp_mean"], rel=0.01)
    assert point["psnr_db"] == pytest.approx(np.mean([r.psnr_db for r in results]))
    assert point["ssim"] == pytest.approx(np.mean([r.ssim for r in results]))
    assert point["swd"] == pytest.approx(np.mean([r.swd for r in results]))
    assert point["swd"] > 0
    assert point["encode_s_per_mpx"] == pytest.approx(1e6 * sum(r.encode_s for r in results) / sum(pixels))
    assert point["decode_s_per_mpx"] == pytest.approx(1e6 * sum(r.decode_s for r in results) / sum(pixels))


def test_a_figure_that_does_not_exist_says_why(photographs: list[Rgb]) -> None:
    results = measure(Coarse(), [("fine", photographs[0]), ("tiny", photographs[0][:8, :8])])
    assert results[0].ms_ssim is None
    assert results[1].ssim is None
    point = summarise(results)
    assert point["psnr_db"] is not None
    assert "psnr_db_why" not in point
    assert point["ssim"] is None
    assert point["ssim_why"].startswith("tiny: ")
    assert point["swd_why"].startswith("tiny: 8x8 is too small")
    assert point["ms_ssim_why"].startswith("fine: "), "the first picture that lacks it"

    lossless = summarise(measure(Zip(), [("same", photographs[0])]))
    assert lossless["psnr_db"] is None
    assert lossless["psnr_db_why"] == "same: infinite: the pictures are identical"
    assert lossless["ssim"] == pytest.approx(1)
    assert lossless["swd"] == 0


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
    assert bpp_of(Zip(), iter(pictures)) == summarise(results)["bpp"]


def test_keep_sees_every_decoded_picture(photographs: list[Rgb]) -> None:
    kept: dict[str, Rgb] = {}
    measure(Coarse(), [("a", photographs[0]), ("b", photographs[1])], kept.__setitem__)
    assert list(kept) == ["a", "b"]
    assert np.array_equal(kept["b"], photographs[1] & 0xF0)


def test_the_rate_over_the_gain_is_that_of_real_files(make_codec: Make, photographs: list[Rgb]) -> None:
    codec = make_codec("nowcae")
    pixels = sum(rgb[..., 0].size for rgb in photographs)
    rate = rate_over_gain(codec, iter(photographs))
    for gain in (0.3, 1.0, 3.0):
        files = [LearnedCoder(codec, gain).encode(rgb) for rgb in photographs]
        assert rate(gain) == 8 * sum(map(len, files)) / pixels
    assert rate(0.3) < rate(1.0) < rate(3.0)
    assert codec.gain.item() == 1.0, "measuring moves nothing"


def test_a_coder_with_a_gain_of_its_own(make_codec: Make, photograph: Rgb) -> None:
    codec = make_codec("wcae")
    codec.gain.fill_(2.0)
    assert LearnedCoder(codec).encode(photograph) == LearnedCoder(codec, 2.0).encode(photograph)
    other = LearnedCoder(codec, 0.5).encode(photograph)
    assert len(other) < len(LearnedCoder(codec).encode(photograph))
    assert np.array_equal(LearnedCoder(codec).decode(other), LearnedCoder(codec, 0.5).decode(other))


def test_gain_at_meets_the_target(make_codec: Make, photographs: list[Rgb]) -> None:
    codec = make_codec("wcae")
    rate = rate_over_gain(codec, photographs)
    target = 1.3 * rate(1.0)
    gain = gain_at(codec, photographs, target, 0.02)
    assert 0.98 * target <= rate(gain) <= target


def test_gain_at_a_target_out_of_reach(make_codec: Make) -> None:
    with pytest.raises(CalibrationError, match="nearest rate reached"):
        gain_at(make_codec("wcae"), [np.zeros((8, 8, 3), np.uint8)], 0.15, 0.01)


def test_results_are_frozen(photographs: list[Rgb]) -> None:
    (result,) = measure(Zip(), [("a", photographs[0])])
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.bpp = 0.0  # type: ignore[misc]
