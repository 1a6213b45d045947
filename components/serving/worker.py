"""The program of a worker process: `python -m components.serving.worker SOCKET PARENT`.

The first message holds the pickled versions. Each further one is a request, which is answered before the next is read.
The process ends with its parent, however that ends, and where a request shows a fault in this program.
"""

import ctypes
import os
import pickle
import re
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import one_line
from .messages import head_of, read
from .refusal import Refusal
from .source import Version
from .work import Facts, Loaded, Work

_PR_SET_PDEATHSIG = 1
_TRIAL = b"P6 2 1 255\n" + bytes((200, 120, 40, 10, 60, 90))
"""A picture that a version must code and decode before it serves."""
_NO_MEMORY = re.compile("Failed to allocate memory|bad_alloc|not enough memory")
"""What ONNX Runtime and torch say, whose errors are of no kind of their own."""


def main() -> None:
    """Load the versions, then answer requests until the service closes the socket."""
    end_with_parent(int(sys.argv[2]))
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a group: the service lets work finish
        signal.signal(number, signal.SIG_IGN)
    Image.MAX_IMAGE_PIXELS = None  # the service has a limit of its own
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rb") as requests:
        first = read(requests)
        if first is None:
            return
        work = _load(connection, *first)
        while work is not None and (request := read(requests)) is not None:
            _send(connection, *_answer(work, *request))


def end_with_parent(parent: int) -> None:
    """Have Linux kill this process when its parent ends, or end now if it has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def _load(connection: socket.socket, facts: dict[str, Any], pickled: bytes) -> Work | None:
    """Load the versions, try the first, and say what it is; None after saying why it does not work."""
    versions: list[Version] = pickle.loads(pickled)  # from the service itself
    try:
        work = Work([Loaded(version.label, version.open()) for version in versions], facts["pixels"])
        _, stream = work.compress(_TRIAL, {"effort": 1})
        work.decompress(stream, {"format": "png"})
    except Exception as error:  # noqa: BLE001 - a version may bring code of its own
        label = versions[0].label
        _send(connection, {"problem": f"version {label} does not load: {one_line(error)}"}, b"")
        return None
    _limit_memory(facts["memory_bytes"])
    _send(connection, work.current.facts(), b"")
    return work


def _limit_memory(further: int) -> None:
    """Let this process have so many bytes more than it has now."""
    (held,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    limit = 1024 * int(held) + further
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _answer(work: Work, request: dict[str, Any], body: bytes) -> tuple[Facts, bytes]:
    try:
        facts, answer = getattr(work, request["work"])(body, request)
    except Refusal as refusal:
        return {"status": refusal.status, "text": refusal.text}, b""
    except Exception as error:
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            text = "the picture takes more memory than a worker may have"
            return {"status": 413, "text": text, "spent": True}, b""
        raise
    return {"status": 200, **facts}, answer


def _send(connection: socket.socket, facts: Facts, body: bytes) -> None:
    connection.sendall(head_of(facts, body))
    connection.sendall(body)


if __name__ == "__main__":
    main()
