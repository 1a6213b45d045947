"""The container of every bitstream: what wrote it, the picture's size, the codec's sections, checksums.

    magic "RW" | version u8 | codec name: length u8, ASCII | model hash, 8 bytes | width, height: varint
    | sections: count u8, each length varint | CRC-32 of the payload | CRC-32 of the header | payload

All integers are little-endian. The payload is the sections one after another, then zero bytes up to the
floor: one byte for every `PIXELS_PER_BYTE` pixels above the first `FREE_PIXELS`. A reader can refuse a small file that
claims a large picture, so no header alone makes it allocate much.

A progressive stream has one section, any first bytes of which are a picture. Its count is `PROGRESSIVE`, its length
is what the encoder wrote, and a u32 follows: the bytes that this file was made with. Where as many are there the
checksum holds; where fewer arrived they are read as they are.
"""

import struct
import zlib
from dataclasses import dataclass, replace

from components.errors import BitstreamError

MAGIC = b"RW"
VERSION = 1
MODEL_HASH_BYTES = 8
MAX_SIDE = 1 << 16
MAX_PIXELS = 1 << 27
PIXELS_PER_BYTE = 1 << 11
FREE_PIXELS = 1 << 20
PROGRESSIVE = 0x81


@dataclass(frozen=True)
class Bitstream:
    """A parsed container. `model_hash` is 8 bytes; `sections` are the codec's own.

    whole: of a progressive stream, the bytes that its section had before any were cut off; None for other streams.
    verified: whether a checksum stands for every byte; not where a progressive stream broke off.
    """

    codec: str
    model_hash: bytes
    width: int
    height: int
    sections: tuple[bytes, ...]
    whole: int | None = None
    verified: bool = True

    def pack(self) -> bytes:
        """The container's bytes. Raises BitstreamError for a side outside 1 to 65536."""
        _check_size(self.width, self.height)
        payload = b"".join(self.sections)
        name = self.codec.encode("ascii")
        if self.whole is None:
            lengths = struct.pack("<B", len(self.sections)) + b"".join(_varint(len(part)) for part in self.sections)
        else:
            lengths = struct.pack("<B", PROGRESSIVE) + _varint(self.whole) + struct.pack("<I", len(payload))
        header = b"".join(
            (
                MAGIC,
                struct.pack("<BB", VERSION, len(name)),
                name,
                self.model_hash,
                _varint(self.width),
                _varint(self.height),
                lengths,
            )
        )
        payload += bytes(max(0, _floor(self.width, self.height) - len(payload)))
        header += struct.pack("<I", zlib.crc32(payload))
        return header + struct.pack("<I", zlib.crc32(header)) + payload

    def cut(self, size: int) -> bytes:
        """The container with as much of a progressive section as makes it `size` bytes, or all where that is less.

        Raises BitstreamError for a stream that is not progressive, and for fewer bytes than a picture takes.
        """
        if self.whole is None:
            raise BitstreamError(f"a stream of codec {self.codec!r} is not progressive: it cannot be cut")
        (section,) = self.sections
        least = len(replace(self, sections=(b"",)).pack())
        if size < least:
            raise BitstreamError(f"{size} bytes hold no picture of {self.width}x{self.height}: it takes {least}")
        return replace(self, sections=(section[: size - least + _floor(self.width, self.height)],)).pack()


def parse(data: bytes) -> Bitstream:
    """Parse a container. Raises BitstreamError: not ours, another version, truncated, corrupted or hostile."""
    reader = _Reader(data)
    if reader.take(2) != MAGIC:
        raise BitstreamError("not a Ratewright bitstream")
    version, name_length = reader.take(2)
    if version != VERSION:
        raise BitstreamError(f"bitstream of format version {version}, this program reads version {VERSION}")
    name = reader.take(name_length)
    model_hash = reader.take(MODEL_HASH_BYTES)
    width, height = reader.varint(), reader.varint()
    (count,) = reader.take(1)
    whole = reader.varint() if count == PROGRESSIVE else None
    lengths = [reader.varint() for _ in range(count)] if whole is None else [reader.u32()]
    payload_crc = reader.u32()
    header = data[: reader.position]
    header_crc = reader.u32()
    if zlib.crc32(header) != header_crc:
        raise BitstreamError("corrupted bitstream: the header's checksum does not match")
    _check_size(width, height)
    payload = data[reader.position :]
    floor = _floor(width, height)
    arrived = len(payload) >= max(sum(lengths), floor)
    if len(payload) < floor or (whole is None and not arrived):
        raise BitstreamError("truncated bitstream: the payload is shorter than the header says")
    if arrived and zlib.crc32(payload) != payload_crc:
        raise BitstreamError("corrupted bitstream: the payload's checksum does not match")
    body = _Reader(payload)
    sections = tuple(body.take(n) for n in lengths) if arrived else (payload,)
    return Bitstream(name.decode("ascii", "replace"), model_hash, width, height, sections, whole, verified=arrived)


class _Reader:
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


def _floor(width: int, height: int) -> int:
    return max(0, width * height - FREE_PIXELS) // PIXELS_PER_BYTE


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise BitstreamError(f"a picture of {width}x{height}: each side must be from 1 to {MAX_SIDE} pixels")
    if width * height > MAX_PIXELS:
        raise BitstreamError(f"a picture of {width}x{height}: more than {MAX_PIXELS} pixels")
