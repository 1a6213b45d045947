"""Messages between the service and a worker, over a pair of sockets: a JSON object, and bytes.

length of the object u32 | length of the bytes u32 | object | bytes        (little-endian)
"""

import json
import struct
from asyncio import StreamReader
from typing import Any, BinaryIO

_LENGTHS = struct.Struct("<II")

Message = tuple[dict[str, Any], bytes]


def head_of(facts: dict[str, Any], body: bytes | bytearray) -> bytes:
    """What goes in front of the bytes."""
    text = json.dumps(facts).encode()
    return _LENGTHS.pack(len(text), len(body)) + text


async def receive(reader: StreamReader) -> Message:
    """The next message. Raises IncompleteReadError where the other side is gone."""
    text, body = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    return json.loads(await reader.readexactly(text)), await reader.readexactly(body)


def read(file: BinaryIO) -> Message | None:
    """The next message; None where the other side is gone."""
    lengths = file.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    text, body = _LENGTHS.unpack(lengths)
    return json.loads(file.read(text)), file.read(body)
