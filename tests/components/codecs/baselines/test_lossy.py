import subprocess
import sys

import numpy as np
import pytest

from components.codecs.baselines.lossy import BASELINES, Classic
from components.codecs.baselines.quality_search import largest_quality
from components.errors import BitstreamError, ImageError
from components.metrics.quality import psnr_db
from tests.components.codecs.baselines.searched import photographs, search

LOW_HIGH = {
    "jpeg": (10, 200),
    "jpeg2000": (0.15, 2),
    "webp": (2, 80),
    "avif": (12, 70),
    "heic": (2, 30),
    "jpegxl": (1 / 16, 1),
}
CODECS = pytest.mark.parametrize("codec", BASELINES.values(), ids=BASELINES.keys())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    value = psnr_db(a, b)
    assert value is not None
    return value


def test_the_table() -> None:
    assert list(BASELINES) == ["jpeg", "jpeg2000", "webp", "avif", "heic", "jpegxl"]
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


def test_the_order_of_the_codecs_on_photographs() -> None:
    def mean(name: str) -> float:
        codec, quality = BASELINES[name], search(name)[0]
        return float(np.mean([psnr(p, codec.decode(codec.encode(p, quality))) for p in photographs()]))

    means = {name: mean(name) for name in BASELINES}
    assert means["jpeg"] + 1 < means["webp"] < means["avif"], means
    assert means["jpeg"] + 1 < means["jpeg2000"] < means["avif"], means
    assert means["jpegxl"] < means["avif"], means
    assert means["webp"] < means["heic"] < means["avif"], means


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
