import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from components.codecs.baselines.lossless import LOSSLESS, Lossless
from components.codecs.baselines.lossy import BASELINES
from components.errors import BitstreamError, ImageError

CODECS = pytest.mark.parametrize("codec", LOSSLESS.values(), ids=LOSSLESS.keys())


@cache
def photographs() -> list[np.ndarray]:
    from skimage import data

    return [data.astronaut()[:256, 64:320].copy(), data.coffee()[:200, 200:451].copy()]


def test_the_table() -> None:
    assert list(LOSSLESS) == ["png", "jpegls", "jpeg2000_lossless", "webp_lossless", "jpegxl_lossless"]
    assert not LOSSLESS.keys() & BASELINES.keys(), "the params name both in one list"
    for name, codec in LOSSLESS.items():
        assert codec.name == name
        assert any(c.isdigit() for c in codec.version)
        assert "None" not in codec.version


@CODECS
def test_photographs_come_back(codec: Lossless) -> None:
    for picture in photographs():
        data = codec.encode(picture)
        decoded = codec.decode(data)
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded, picture)
        assert len(data) < 0.75 * picture.size
        view = np.ascontiguousarray(picture[::-1, :, ::-1])[::-1, :, ::-1]
        assert codec.encode(view) == data


@CODECS
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1, 300), (65, 33)])
def test_every_size_and_kind_of_picture_comes_back(codec: Lossless, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    gray = np.repeat(noise[..., :1], 3, axis=2)
    corners = random.choice(np.array([0, 255], np.uint8), (*shape, 3))  # where a colour transform wraps around
    for picture in (noise, gray, corners, np.full_like(noise, 200), np.zeros_like(noise)):
        assert np.array_equal(codec.decode(codec.encode(picture)), picture)


def test_the_order_of_the_codecs_on_photographs() -> None:
    sizes = {name: sum(len(codec.encode(p)) for p in photographs()) for name, codec in LOSSLESS.items()}
    assert sizes["jpegxl_lossless"] == min(sizes.values()), sizes
    assert sizes["png"] == max(sizes.values()), sizes


def test_jpegls_is_a_file_that_others_read_smaller_than_without_its_transform() -> None:
    import imagecodecs

    picture = photographs()[0]
    data = LOSSLESS["jpegls"].encode(picture)
    planes = imagecodecs.jpegls_decode(data)
    assert np.array_equal(planes[..., 0], picture[..., 1]), "green is coded as it is"
    assert len(data) < 0.95 * len(imagecodecs.jpegls_encode(picture))
    with pytest.raises(ImageError, match="a side is longer than 65535 pixels"):
        LOSSLESS["jpegls"].encode(np.zeros((1, 65536, 3), np.uint8))


@CODECS
def test_bad_bitstreams_are_refused(codec: Lossless) -> None:
    whole = codec.encode(photographs()[0])
    other = LOSSLESS["jpegls" if codec.name == "png" else "png"].encode(photographs()[0][:8, :8])
    for bad in (b"", b"garbage" * 30, whole[:10], whole[: len(whole) // 2], other):
        with pytest.raises(BitstreamError):
            codec.decode(bad)


@CODECS
def test_bad_input_is_refused(codec: Lossless) -> None:
    good = photographs()[0][:8, :8]
    for bad in (good[..., 0], good.astype(np.float32), good[:0], np.dstack([good, good[..., 0]])):
        with pytest.raises(ImageError, match=f"{codec.name}: not a uint8"):
            codec.encode(bad)  # type: ignore[arg-type]


def test_importing_is_cheap() -> None:
    code = "import components.codecs.baselines.lossless, sys;"
    code += "assert not {'PIL', 'imagecodecs', 'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
