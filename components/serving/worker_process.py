"""A worker process, as the service sees it."""

import asyncio
import os
import pickle
import socket
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import RatewrightError
from .limits import Limits
from .messages import Message, head_of, receive
from .source import Version

LOAD_S = 300.0
"""Longest time that loading may take."""


class WorkerDied(Exception):
    """A worker ended in the midst of a request."""


class Worker:
    """A process that answers one request at a time.

    Attributes:
        model: Codec, model hash and version that it compresses with.
    """

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._process, self._reader, self._writer = process, reader, writer
        self.model: dict[str, str] = {}

    @classmethod
    async def start(cls, versions: Sequence[Version], limits: Limits) -> "Worker":
        """A process that has loaded the versions, the current one first. Raises RatewrightError if they do not load."""
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", f"{__package__}.worker", str(theirs.fileno()), str(os.getpid())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        worker = cls(process, *await asyncio.open_unix_connection(sock=ours))
        facts = {"pixels": limits.pixels, "memory_bytes": limits.memory_bytes}
        try:
            async with asyncio.timeout(LOAD_S):
                said, _ = await worker.call(facts, pickle.dumps(list(versions)))
        except (TimeoutError, WorkerDied) as error:
            worker.end()
            why = "takes too long" if isinstance(error, TimeoutError) else "ends the process that loads it"
            raise RatewrightError(f"version {versions[0].label} {why}") from error
        except BaseException:
            worker.end()
            raise
        if "problem" in said:
            worker.end()
            raise RatewrightError(said["problem"])
        worker.model = said
        return worker

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def call(self, facts: dict[str, Any], body: bytes | bytearray) -> Message:
        """The answer to a message. Raises WorkerDied."""
        try:
            self._writer.write(head_of(facts, body))
            self._writer.write(body)
            await self._writer.drain()
            return await receive(self._reader)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise WorkerDied from error

    async def wait(self) -> int:
        """The exit status, once the process has ended."""
        return await self._process.wait()

    def end(self) -> None:
        """Kill the process, whatever it does."""
        self._writer.close()
        if self._process.returncode is None:
            self._process.kill()
