import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.baselines.lossy import BASELINES, Classic
from components.codecs.baselines.quality_search import largest_quality
from components.errors import BitstreamError, CalibrationError, ImageError
from components.metrics.quality import psnr_db

LOW_HIGH = {
    "jpeg": (10, 200),
    "jpeg2000": (0.15, 2),
    "webp": (2, 80),
    "avif": (12, 70),
    "jpegxl": (1 / 16, 1),
}
TARGET = 0.3
CODECS = pytest.mark.parametrize("codec", BASELINES.values(), ids=BASELINES.keys())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    value = psnr_db(a, b)
    assert value is not None
    return value


@cache
def photographs() -> list[np.ndarray]:
    from skimage import data

    return [data.astronaut()[:256, 64:320].copy(), data.coffee()[:200, 200:450].copy()]


@cache
def search(name: str) -> tuple[float, dict[float, float]]:
    """The largest quality within TARGET, and all rates that were measured by quality."""
    rates: dict[float, float] = {}
    return largest_quality(BASELINES[name], photographs(), TARGET, rates=rates), rates


def rate(codec: Classic, quality: float) -> float:
    images = photographs()
    bits = 8 * sum(len(codec.encode(image, quality)) for image in images)
    pixels: int = sum(image.shape[0] * image.shape[1] for image in images)
    return bits / pixels


def test_the_table() -> None:
    assert list(BASELINES) == ["jpeg", "jpeg2000", "webp", "avif", "jpegxl"]
    for name, codec in BASELINES.items():
        assert codec.name == name
        assert any(c.isdigit() for c in codec.version)
        assert "None" not in codec.version
        assert "quality = " in codec.settings


@CODECS
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (65, 33)])
def test_every_size_round_trips(codec: Classic, shape: tuple[int, int]) -> None:
    ramp = np.add.outer(3 * np.arange(shape[0]), 2 * np.arange(shape[1])) % 256
    picture = np.stack([ramp, 255 - ramp, np.full_like(ramp, 90)], axis=2).astype(np.uint8)
    for quality in (codec.low, *LOW_HIGH[codec.name], codec.high):
        decoded = codec.decode(codec.encode(picture, quality))
        assert decoded.shape == picture.shape
        assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - picture).mean() < 12


@CODECS
def test_more_quality_is_more_bytes_and_more_psnr(codec: Classic) -> None:
    picture = photographs()[0]
    low, high = (codec.encode(picture, quality) for quality in LOW_HIGH[codec.name])
    assert len(high) > 3 * len(low)
    at_low, at_high = (psnr(picture, codec.decode(data)) for data in (low, high))
    assert 18 < at_low < 30
    assert at_high > max(at_low + 5, 33)
    assert codec.encode(picture, LOW_HIGH[codec.name][0]) == low


@CODECS
def test_views_and_strides_do_not_matter(codec: Classic) -> None:
    picture = photographs()[0][:40, :56]
    quality = LOW_HIGH[codec.name][1]
    view = np.ascontiguousarray(picture[::-1, :, ::-1])[::-1, :, ::-1]
    assert codec.encode(view, quality) == codec.encode(picture, quality)


@CODECS
def test_the_largest_quality_meets_the_target_from_below(codec: Classic) -> None:
    quality, rates = search(codec.name)
    assert rates[quality] == rate(codec, quality) <= TARGET
    if codec.integer:
        assert rate(codec, quality + 1) > TARGET
    else:
        above = min(other for other, bpp in rates.items() if bpp > TARGET)
        assert rates[quality] >= 0.995 * TARGET or above <= 1.0011 * quality
        assert rates[quality] > 0.97 * TARGET


@CODECS
def test_the_search_does_not_depend_on_the_workers(codec: Classic) -> None:
    small = [picture[:64, :64] for picture in photographs()]
    assert largest_quality(codec, small, 2.0, workers=1) == largest_quality(codec, small, 2.0, workers=3)


def test_searches_for_several_targets_share_what_they_measure() -> None:
    codec, picture = BASELINES["jpeg"], photographs()[0]
    encoded: list[float] = []
    rates: dict[float, float] = {}

    def encode(rgb: Rgb, quality: float) -> bytes:
        encoded.append(quality)
        return codec.encoder(rgb, quality)

    counted = replace(codec, encoder=encode)
    first = largest_quality(counted, [picture], 0.8, rates=rates)
    taken = len(encoded)
    assert largest_quality(counted, [picture], 0.8, rates=rates) == first
    assert len(encoded) == taken
    second = largest_quality(counted, [picture], 0.6, rates=rates)
    assert 0.995 * 0.6 <= rates[second] <= 0.6
    assert len(encoded) == len(set(encoded)) == len(rates)


@CODECS
def test_a_search_takes_few_encodings(codec: Classic) -> None:
    _, first = search(codec.name)
    assert len(first) <= 9  # halving takes 8 to 15
    rates = dict(first)
    largest_quality(codec, photographs(), 1.1 * TARGET, rates=rates)
    assert len(rates) - len(first) <= 5


def test_the_order_of_the_codecs_on_photographs() -> None:
    def mean(name: str) -> float:
        codec, quality = BASELINES[name], search(name)[0]
        return float(np.mean([psnr(p, codec.decode(codec.encode(p, quality))) for p in photographs()]))

    means = {name: mean(name) for name in BASELINES}
    assert means["jpeg"] + 1 < means["webp"] < means["avif"], means
    assert means["jpeg"] + 1 < means["jpeg2000"] < means["avif"], means
    assert means["jpegxl"] < means["avif"], means


def test_jpeg_beats_the_tables_of_the_standard() -> None:
    import io

    from PIL import Image

    picture, codec = photographs()[0], BASELINES["jpeg"]
    for quality in (10, 75):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        bpp = 8 * len(buffer.getvalue()) / picture[..., 0].size
        ours = codec.decode(codec.encode(picture, largest_quality(codec, [picture], bpp)))
        assert psnr(picture, ours) > psnr(picture, np.array(Image.open(buffer)))


@CODECS
def test_an_unreachable_target_names_the_lowest_rate(codec: Classic) -> None:
    tiny = [photographs()[0][:8, :8]]
    lowest = 8 * len(codec.encode(tiny[0], codec.low)) / 64
    with pytest.raises(CalibrationError, match=rf"{codec.name} does not reach 0\.15 bpp.*{lowest:.4f} bpp"):
        largest_quality(codec, tiny, 0.15)


@CODECS
def test_a_generous_target_takes_the_highest_quality(codec: Classic) -> None:
    assert largest_quality(codec, [photographs()[0][:16, :16]], 1000) >= 0.99 * codec.high


@CODECS
def test_bad_bitstreams_are_refused(codec: Classic) -> None:
    whole = codec.encode(photographs()[0], LOW_HIGH[codec.name][1])
    other = BASELINES["webp" if codec.name == "jpeg" else "jpeg"].encode(photographs()[0][:8, :8], 50)
    for bad in (b"", b"garbage" * 30, whole[:10], whole[: len(whole) // 2], whole[:40] + bytes(400), other):
        with pytest.raises(BitstreamError):
            codec.decode(bad)


@CODECS
def test_bad_input_is_refused(codec: Classic) -> None:
    good = photographs()[0][:8, :8]
    for bad in (good[..., 0], good.astype(np.float32), good[:0], np.dstack([good, good[..., 0]])):
        with pytest.raises(ImageError, match="not a uint8"):
            codec.encode(bad, codec.high)  # type: ignore[arg-type]
    for quality in (codec.low - 0.1, codec.high + 1, float("nan")):
        with pytest.raises(ValueError, match="quality"):
            codec.encode(good, quality)


def test_a_whole_quality_is_whole() -> None:
    with pytest.raises(ValueError, match="whole number"):
        BASELINES["avif"].encode(photographs()[0][:8, :8], 10.5)
    assert isinstance(search("avif")[0], int)


def test_importing_is_cheap() -> None:
    code = "import components.codecs.baselines.lossy, components.metrics.quality, components.metrics.bd_rate, sys;"
    code += "assert not {'PIL', 'imagecodecs', 'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
