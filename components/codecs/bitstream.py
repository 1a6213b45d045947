"""The container of every bitstream: what wrote it, the picture's size, the codec's sections, checksums.

    magic "RW" | version u8 | codec name: length u8, ASCII | model hash, 8 bytes | width, height: varint
    | sections: count u8, each length varint | CRC-32 of the payload | CRC-32 of the header | payload

All integers are little-endian. The payload is the sections one after another, then zero bytes up to the
floor of one byte for every `PIXELS_PER_BYTE` pixels: a reader can refuse a small file that claims a large
picture, so no header alone makes it allocate much.
"""

import struct
import zlib
from dataclasses import dataclass

from components.errors import BitstreamError

MAGIC = b"RW"
VERSION = 1
MODEL_HASH_BYTES = 8
MAX_SIDE = 1 << 16
MAX_PIXELS = 1 << 27
PIXELS_PER_BYTE = 1 << 11


@dataclass(frozen=True)
class Bitstream:
    """A parsed container. `model_hash` is 8 bytes; `sections` are the codec's own."""

    codec: str
    model_hash: bytes
    width: int
    height: int
    sections: tuple[bytes, ...]

    def pack(self) -> bytes:
        """The container's bytes. Raises BitstreamError for a side outside 1 to 65536."""
        _check_size(self.width, self.height)
        payload = b"".join(self.sections)
        name = self.codec.encode("ascii")
        header = b"".join(
            (
                MAGIC,
                struct.pack("<BB", VERSION, len(name)),
                name,
                self.model_hash,
                _varint(self.width),
                _varint(self.height),
                struct.pack("<B", len(self.sections)),
                *(_varint(len(section)) for section in self.sections),
            )
        )
        payload += bytes(max(0, self.width * self.height // PIXELS_PER_BYTE - len(payload)))
        header += struct.pack("<I", zlib.crc32(payload))
        return header + struct.pack("<I", zlib.crc32(header)) + payload


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
    lengths = [reader.varint() for _ in range(reader.take(1)[0])]
    (payload_crc,) = struct.unpack("<I", reader.take(4))
    header = data[: reader.position]
    (header_crc,) = struct.unpack("<I", reader.take(4))
    if zlib.crc32(header) != header_crc:
        raise BitstreamError("corrupted bitstream: the header's checksum does not match")
    _check_size(width, height)
    payload = data[reader.position :]
    if len(payload) < max(sum(lengths), width * height // PIXELS_PER_BYTE):
        raise BitstreamError("truncated bitstream: the payload is shorter than the header says")
    if zlib.crc32(payload) != payload_crc:
        raise BitstreamError("corrupted bitstream: the payload's checksum does not match")
    body = _Reader(payload)
    return Bitstream(name.decode("ascii", "replace"), model_hash, width, height, tuple(body.take(n) for n in lengths))


class _Reader:
    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        if self.position + count > len(self.data):
            raise BitstreamError("truncated bitstream")
        self.position += count
        return self.data[self.position - count : self.position]

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


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise BitstreamError(f"a picture of {width}x{height}: each side must be from 1 to {MAX_SIDE} pixels")
    if width * height > MAX_PIXELS:
        raise BitstreamError(f"a picture of {width}x{height}: more than {MAX_PIXELS} pixels")
