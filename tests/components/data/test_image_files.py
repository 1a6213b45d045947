import io
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from components.arrays import Rgb
from components.data.image_files import decode, decode_rgb, encode_png
from components.errors import ImageError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
SIXTEEN = RNG.integers(0, 1 << 16, (5, 7, 3), dtype=np.uint16)


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def png16(samples: NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG of (H, W, C), which Pillow cannot write."""
    height, width, channels = samples.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_plain_rgb_is_exact_and_plain() -> None:
    decoded = decode(saved(Image.fromarray(RGB)))
    assert np.array_equal(decoded.rgb, RGB)
    assert decoded.rgb.dtype == np.uint8
    assert decoded.rgb.flags.writeable
    assert decoded.plain


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grey_is_repeated(kind: str) -> None:
    decoded = decode(saved(Image.fromarray(RGB[..., 0]), kind))
    assert np.array_equal(decoded.rgb, np.repeat(RGB[..., :1], 3, axis=2))
    assert not decoded.plain


def test_one_bit_picture() -> None:
    bits = Image.fromarray(RGB[..., 0]).point(lambda value: 255 * (value > 127)).convert("1")
    assert set(np.unique(decode_rgb(saved(bits)))) == {0, 255}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_the_high_bits(channels: int) -> None:
    samples = RNG.integers(0, 1 << 16, (5, 7, channels), dtype=np.uint16)
    decoded = decode(png16(samples))
    colours = samples[..., :3] if channels >= 3 else np.repeat(samples[..., :1], 3, axis=2)
    assert np.array_equal(decoded.rgb, colours >> 8)
    assert not decoded.plain


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "zlib"}])
def test_16_bit_tiff_keeps_the_high_bits(options: dict[str, Any]) -> None:
    assert np.array_equal(decode_rgb(tiff(SIXTEEN, photometric="rgb", **options)), SIXTEEN >> 8)
    grey = decode_rgb(tiff(SIXTEEN[..., 0], photometric="minisblack", **options))
    assert np.array_equal(grey, np.repeat(SIXTEEN[..., :1], 3, axis=2) >> 8)


def test_planar_16_bit_tiff_is_refused_rather_than_misread() -> None:
    data = tiff(np.moveaxis(SIXTEEN, 2, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(ImageError, match="planar"):
        decode_rgb(data)
    planar8 = tiff(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(decode_rgb(planar8), RGB)


def test_16_bit_pgm() -> None:
    data = b"P5 2 1 65535\n" + bytes([0x12, 0x34, 0xFF, 0x00])
    assert decode_rgb(data)[..., 0].tolist() == [[0x12, 0xFF]]


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_samples_of_no_known_range_are_refused(dtype: str) -> None:
    with pytest.raises(ImageError, match="range"):
        decode_rgb(tiff(np.ones((4, 5), dtype)))


def test_alpha_is_dropped() -> None:
    alpha = RNG.integers(0, 256, (5, 7, 1), dtype=np.uint8)
    decoded = decode(saved(Image.fromarray(np.concatenate([RGB, alpha], axis=2))))
    assert np.array_equal(decoded.rgb, RGB)
    assert not decoded.plain
    grey_alpha = np.concatenate([RGB[..., :1], alpha], axis=2)
    assert np.array_equal(decode_rgb(saved(Image.fromarray(grey_alpha))), np.repeat(RGB[..., :1], 3, axis=2))


def test_rgb_with_a_transparent_colour_is_not_plain() -> None:
    decoded = decode(saved(Image.fromarray(RGB), transparency=(1, 2, 3)))
    assert np.array_equal(decoded.rgb, RGB)
    assert not decoded.plain


@pytest.mark.parametrize("transparency", [None, 0])
def test_palette_is_resolved(transparency: int | None) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putdata([0, 1])
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    assert decode_rgb(saved(picture, **options)).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_cmyk_jpeg_is_converted() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    decoded = decode(saved(cyan, "JPEG", quality=95))
    assert not decoded.plain
    assert np.abs(decoded.rgb.astype(int) - [0, 255, 255]).max() < 4


def upright_ramp() -> Rgb:
    """Red grows to the right, green downwards: every orientation of it is another picture."""
    y, x = np.mgrid[0:32, 0:48]
    return np.stack([x * 5, y * 7, np.zeros_like(x)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    turns: dict[int, Callable[[Rgb], Rgb]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = Image.fromarray(np.ascontiguousarray(turns[orientation](upright_ramp())))
    options: dict[str, Any] = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(saved(lying, kind, exif=exif, **options))
    assert decoded.rgb.shape == (32, 48, 3)
    assert np.abs(decoded.rgb.astype(int) - upright_ramp()).max() <= (12 if kind == "JPEG" else 0)
    assert decoded.plain == (orientation == 1 and kind != "TIFF")


def test_one_pixel() -> None:
    assert decode_rgb(saved(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        decoded = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert decoded.rgb[0, 0].tolist() == [255, 0, 0]
        assert not decoded.plain


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_truncation_anywhere_is_an_image_error(kind: str) -> None:
    whole = saved(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    for length in [*range(0, 60), len(whole) // 2, len(whole) * 9 // 10]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ImageError) as caught:
                decode_rgb(whole[:length])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_damage_is_an_image_error_or_a_picture(kind: str) -> None:
    whole = saved(Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)), kind)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in RNG.integers(0, min(len(whole), 200), 3):
            damaged[at] = RNG.integers(0, 256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(ImageError):
                assert decode_rgb(bytes(damaged), max_pixels=1 << 20).ndim == 3


@pytest.mark.parametrize("data", [b"", b"hello, I am a text file\n" * 20, b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_not_a_picture(data: bytes) -> None:
    with pytest.raises(ImageError, match="not a picture"):
        decode_rgb(data)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    data = saved(Image.new("1", (20_000, 20_000)))
    with pytest.raises(ImageError, match="20000x20000 pixels"):
        decode_rgb(data)
    with pytest.raises(ImageError, match="allowed"):
        decode_rgb(saved(Image.fromarray(RGB)), max_pixels=34)
    assert decode_rgb(saved(Image.fromarray(RGB)), max_pixels=35).shape == RGB.shape


def test_pillows_own_limit_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = saved(Image.fromarray(RGB))
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(rgb, RGB) for rgb in pool.map(decode_rgb, [data] * 40))
    assert Image.MAX_IMAGE_PIXELS == 10


def chunks(data: bytes) -> list[tuple[bytes, int]]:
    """The kind of each chunk of a PNG, and where its checksum begins."""
    found, position = [], 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found.append((kind, position + 8 + length))
        position += 12 + length
    return found


def test_a_png_with_a_wrong_checksum_of_pixels_is_refused() -> None:
    """As xcsn0g01 of PngSuite has. Each of several IDAT chunks counts."""
    good = saved(Image.fromarray(RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8)))
    places = [place for kind, place in chunks(good) if kind == b"IDAT"]
    assert len(places) > 1
    decode_rgb(good)
    for place in places:
        for byte in range(4):
            bad = bytearray(good)
            bad[place + byte] ^= 1
            with pytest.raises(ImageError, match="checksum of its pixels does not match"):
                decode_rgb(bytes(bad))


def test_a_png_without_its_end_is_decoded_as_before() -> None:
    good = saved(Image.fromarray(RGB))
    assert np.array_equal(decode_rgb(good[:-12]), RGB)
    assert np.array_equal(decode_rgb(good + b"more"), RGB)


def test_encode_png_is_lossless_deterministic_and_plain() -> None:
    data = encode_png(RGB[:, ::-1])
    assert data == encode_png(RGB[:, ::-1].copy())
    assert np.array_equal(decode(data).rgb, RGB[:, ::-1])
    assert decode(data).plain


@pytest.mark.parametrize("array", [RGB[..., 0], SIXTEEN, RGB[:0], RGB[..., :2]])
def test_encode_png_refuses_other_arrays(array: NDArray[Any]) -> None:
    with pytest.raises(ImageError):
        encode_png(array)
