import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from components.codecs.base import Codec
from components.codecs.bitstream import FORMAT_VERSION, FREE_PIXELS, MAX_SIDE, PIXELS_PER_BYTE, Bitstream, parse
from components.codecs.tensors import to_tensor
from components.errors import BitstreamError

HASH = bytes(range(8))


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def forged(
    *, version: int = FORMAT_VERSION, name: bytes = b"wcae", width: int = 5, height: int = 4,
    lengths: tuple[int, ...] = (3,), payload: bytes = b"abc", magic: bytes = b"RW",
) -> bytes:  # fmt: skip
    """A container written by hand from the module's description, checksums right whatever it claims."""
    header = magic + bytes([version, len(name)]) + name + HASH + varint(width) + varint(height)
    header += bytes([len(lengths)]) + b"".join(varint(n) for n in lengths)
    header += struct.pack("<I", zlib.crc32(payload))
    return header + struct.pack("<I", zlib.crc32(header)) + payload


@pytest.fixture(scope="module")
def real(make_codec: Callable[..., Codec], photograph: "object") -> bytes:
    return make_codec("wcae").compress(to_tensor(photograph[:64, :64]))[0]  # type: ignore[index]


@pytest.mark.parametrize("sections", [(), (b"",), (b"abc",), (b"", b"x", b"y" * 300, b"")])
@pytest.mark.parametrize("size", [(1, 1), (127, 128), (65536, 1), (3000, 2000)])
def test_round_trip(sections: tuple[bytes, ...], size: tuple[int, int]) -> None:
    stream = Bitstream("wcae", HASH, *size, sections)
    assert parse(stream.pack()) == stream


def test_the_layout_is_the_documented_one() -> None:
    assert Bitstream("wcae", HASH, 5, 4, (b"abc",)).pack() == forged()
    assert parse(forged(width=150, height=40)).width == 150


def test_the_header_is_small() -> None:
    assert len(Bitstream("wcae", HASH, 768, 512, (b"x" * 5000,)).pack()) - 5000 <= 32


def test_a_large_picture_is_padded_to_the_floor() -> None:
    stream = Bitstream("wcae", HASH, 2048, 2048, (b"abc",))
    assert len(stream.pack()) >= (2048 * 2048 - FREE_PIXELS) // PIXELS_PER_BYTE
    assert parse(stream.pack()).sections == (b"abc",)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)])
def test_a_side_out_of_range_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(BitstreamError, match="each side"):
        Bitstream("wcae", HASH, *size, ()).pack()
    with pytest.raises(BitstreamError, match="each side"):
        parse(forged(width=size[0], height=size[1]))


def test_every_truncation_is_refused(real: bytes) -> None:
    assert parse(real).codec == "wcae"
    for length in range(len(real)):
        with pytest.raises(BitstreamError) as caught:
            parse(real[:length])
        assert "\n" not in str(caught.value)


def test_every_corruption_of_one_byte_is_refused(real: bytes) -> None:
    """Every bit and a few other values of every byte of the header; a few of every byte of the payload."""
    for at in range(len(real)):
        flips = [1 << bit for bit in range(8)] + [0xFF] if at < 64 else [1, 0x80, 0xFF]
        for flip in flips:
            bad = bytearray(real)
            bad[at] ^= flip
            with pytest.raises(BitstreamError) as caught:
                parse(bytes(bad))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extra", [b"\0", b"RW", bytes(1000)])
def test_trailing_bytes_are_refused(real: bytes, extra: bytes) -> None:
    with pytest.raises(BitstreamError):
        parse(real + extra)


@pytest.mark.parametrize("data", [b"", b"R", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n" + bytes(50), b"text\n" * 9])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError, match=r"not a Ratewright bitstream|truncated"):
        parse(data)


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, 255])
def test_another_version_is_named(version: int) -> None:
    with pytest.raises(BitstreamError, match=rf"version {version}, this program reads version {FORMAT_VERSION}"):
        parse(forged(version=version))


def test_a_number_that_never_ends_is_refused() -> None:
    with pytest.raises(BitstreamError, match="too long"):
        parse(b"RW" + bytes([FORMAT_VERSION, 1]) + b"w" + HASH + b"\xff" * 40)


def test_a_name_that_is_not_ascii_is_no_crash() -> None:
    assert parse(forged(name=b"\xff\xfe")).codec == "��"


@pytest.mark.parametrize(
    "claim",
    [
        {"width": MAX_SIDE, "height": MAX_SIDE},
        {"width": MAX_SIDE, "height": 1, "lengths": ()},
        {"lengths": (2**34,)},
        {"lengths": (2**34,) * 255},
        {"lengths": (4,)},
    ],
)
def test_a_hostile_header_with_right_checksums_allocates_nothing(
    claim: dict[str, int], make_codec: Callable[..., Codec]
) -> None:
    """The codec itself is asked: it must refuse before it thinks of buffers for what the header claims."""
    codec = make_codec("wcae")
    data = forged(**claim) if claim.get("height") != 1 else forged(width=MAX_SIDE, height=64, lengths=())  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        with pytest.raises(BitstreamError, match=r"truncated|more than \d+ pixels"):
            codec.decompress([data])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_the_floor_bounds_the_picture_by_the_file() -> None:
    side = 1 << 12
    floor = (side * side - FREE_PIXELS) // PIXELS_PER_BYTE
    assert parse(forged(width=side, height=side, payload=b"abc" + bytes(floor - 3))).height == side
    with pytest.raises(BitstreamError, match="truncated"):
        parse(forged(width=side, height=side, payload=b"abc" + bytes(floor - 4)))
