"""The container format of bitstreams: codec, model, picture size, sections and checksums.

    magic "RW" | version u8 | codec name: length u8, ASCII | model hash, 8 bytes | width, height: varint
    | sections: count u8, each length varint | CRC-32 of the payload | CRC-32 of the header | payload

All integers are little-endian. The payload is the sections one after another, then zero bytes up to a smallest length:
one byte for every `PIXELS_PER_BYTE` pixels above the first `FREE_PIXELS`. So a reader refuses a small file that claims
a large picture, and no header alone makes it allocate much memory.

A progressive stream has one section, of which every prefix decodes to a picture. Its count is `PROGRESSIVE` and its
length is the one that the encoder wrote. A u32 follows: the payload's length in this file, which a truncation makes
smaller. A payload of that length is checked against its checksum. A shorter one is decoded without a check.
"""

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import BitstreamError

MAGIC = b"RW"
FORMAT_VERSION = 1
MODEL_HASH_BYTES = 8
MAX_SIDE = 1 << 16
MAX_PIXELS = 1 << 27
PIXELS_PER_BYTE = 1 << 11
FREE_PIXELS = 1 << 20
PROGRESSIVE = 0x81
_MAX_EXTRA_PLANES = 3


@dataclass(frozen=True)
class Bitstream:
    """A parsed container.

    Attributes:
        codec: name of the codec that wrote the stream.
        model_hash: 8 bytes that identify its weights and hyper-parameters.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        sections: the codec's own bytes.
        full_length: of a progressive stream, the bytes of its section before any truncation; None for other streams.
        checksum_verified: whether the payload's checksum was compared. It is not where a progressive stream lacks bytes
            that its header announces.
    """

    codec: str
    model_hash: bytes
    width: int
    height: int
    sections: tuple[bytes, ...]
    full_length: int | None = None
    checksum_verified: bool = True

    def pack(self) -> bytes:
        """The container's bytes. Raises BitstreamError for a side outside 1 to 65536."""
        check_size(self.width, self.height)
        payload = b"".join(self.sections)
        name = self.codec.encode("ascii")
        if self.full_length is None:
            lengths = struct.pack("<B", len(self.sections)) + b"".join(_varint(len(part)) for part in self.sections)
        else:
            lengths = struct.pack("<B", PROGRESSIVE) + _varint(self.full_length) + struct.pack("<I", len(payload))
        header = b"".join(
            (
                MAGIC,
                struct.pack("<BB", FORMAT_VERSION, len(name)),
                name,
                self.model_hash,
                _varint(self.width),
                _varint(self.height),
                lengths,
            )
        )
        payload += bytes(max(0, _least_payload(self.width, self.height) - len(payload)))
        header += struct.pack("<I", zlib.crc32(payload))
        return header + struct.pack("<I", zlib.crc32(header)) + payload

    def truncate(self, size: int) -> bytes:
        """The container of a progressive stream with its section shortened, so that it has at most `size` bytes.

        Raises:
            BitstreamError: the stream is not progressive, or a picture of this size takes more bytes.
        """
        if self.full_length is None:
            raise BitstreamError(f"a stream of codec {self.codec!r} is not progressive: it cannot be truncated")
        (section,) = self.sections
        least = len(replace(self, sections=(b"",)).pack())
        if size < least:
            raise BitstreamError(
                f"{size} bytes are too few for a picture of {self.width}x{self.height}: its smallest stream has {least}"
            )
        return replace(self, sections=(section[: size - least + _least_payload(self.width, self.height)],)).pack()


def stream_of_at_least(size: int, pack: Callable[[float], bytes], gain: float) -> Bitstream:
    """A progressive stream that can be truncated to a size.

    The codec's own gain sets the number of trit planes. Where they take fewer bytes, up to three finer ones are added.

    Args:
        size: in bytes.
        pack: gives the stream of a gain.
        gain: the codec's own.
    """
    for extra in range(_MAX_EXTRA_PLANES + 1):
        stream = pack(gain * 3**extra)
        if len(stream) >= size:
            break
    return parse(stream)


def parse(data: bytes) -> Bitstream:
    """Parse a container and check its checksums.

    Raises:
        BitstreamError: the data is no bitstream, of another format version, truncated, corrupted or hostile.
    """
    reader = _Reader(data)
    if reader.take(2) != MAGIC:
        raise BitstreamError("not a Ratewright bitstream")
    version, name_length = reader.take(2)
    if version != FORMAT_VERSION:
        raise BitstreamError(f"bitstream of format version {version}, this program reads version {FORMAT_VERSION}")
    name = reader.take(name_length)
    model_hash = reader.take(MODEL_HASH_BYTES)
    width, height = reader.varint(), reader.varint()
    (count,) = reader.take(1)
    full_length = reader.varint() if count == PROGRESSIVE else None
    lengths = [reader.varint() for _ in range(count)] if full_length is None else [reader.u32()]
    payload_crc = reader.u32()
    header = data[: reader.position]
    header_crc = reader.u32()
    if zlib.crc32(header) != header_crc:
        raise BitstreamError("corrupted bitstream: the header's checksum does not match")
    check_size(width, height)
    payload = data[reader.position :]
    least = _least_payload(width, height)
    complete = len(payload) >= max(sum(lengths), least)
    if len(payload) < least or (full_length is None and not complete):
        raise BitstreamError("truncated bitstream: the payload is shorter than the header says")
    if complete and zlib.crc32(payload) != payload_crc:
        raise BitstreamError("corrupted bitstream: the payload's checksum does not match")
    body = _Reader(payload)
    sections = tuple(body.take(n) for n in lengths) if complete else (payload,)
    return Bitstream(
        name.decode("ascii", "replace"), model_hash, width, height, sections, full_length, checksum_verified=complete
    )


class _Reader:
    """Reads fields one after another; raises BitstreamError at the end of the data."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        if self.position + count > len(self.data):
            raise BitstreamError("truncated bitstream")
        self.position += count
        return self.data[self.position - count : self.position]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BitstreamError("corrupted bitstream: a number in the header is too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _least_payload(width: int, height: int) -> int:
    """The smallest payload of a picture of this size, in bytes."""
    return max(0, width * height - FREE_PIXELS) // PIXELS_PER_BYTE


def check_size(width: int, height: int) -> None:
    """Raise BitstreamError for a picture of a size that no stream holds."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise BitstreamError(f"a picture of {width}x{height}: each side must be from 1 to {MAX_SIDE} pixels")
    if width * height > MAX_PIXELS:
        raise BitstreamError(f"a picture of {width}x{height}: more than {MAX_PIXELS} pixels")


def byte_budget(bpp: float, size: Sequence[int]) -> int:
    """The largest number of bytes within a rate, for a picture of `size` (height, width)."""
    return math.floor(bpp * size[0] * size[1] / 8)
