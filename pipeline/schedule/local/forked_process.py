"""A function in a process of its own: a fork with a log file, a pipe for what it tells, and a sure way to end it."""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from components.training.interrupt import die_with_parent

GRACE_S = float(os.environ.get("RATEWRIGHT_GRACE_S") or 30)
"""Seconds that a process has to end after it was asked to; then it is killed, with all that it started."""
_ASK_AGAIN_S = 1.0

Message = dict[str, Any]
"""What a process tells: JSON."""


class ForkedProcess:
    """A process that runs a function, as the leader of a process group, and ends with the process that made it.

    Ctrl-C in a terminal does not reach it. The process that makes it must have one thread, as every process that forks.
    """

    def __init__(self, work: Callable[[Callable[[Message], None]], None], log: Path, environment: dict[str, str]):
        """Start it.

        Args:
            work: Runs in the process, and is given a function that sends a message to the process that made it.
            log: Its output is appended to this file.
            environment: Variables added to its environment.

        Raises:
            OSError: No process or file can be made.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        maker = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _run(work, output, writing, environment, maker)
        with suppress(PermissionError, ProcessLookupError):  # the process does the same; one of both is first
            os.setpgid(self.pid, self.pid)
        os.close(output)
        os.close(writing)
        os.set_blocking(self._reading, False)
        self._text = b""
        self._status: int | None = None
        self._ended_at = 0.0
        self._group_asked = False
        self._asked_at: float | None = None
        self._asked_again_at = 0.0

    def messages(self) -> list[Message]:
        """What it told since the last call."""
        with suppress(BlockingIOError):
            while self._reading >= 0 and (read := os.read(self._reading, 1 << 16)):
                self._text += read
        *lines, self._text = self._text.split(b"\n")
        return [json.loads(line) for line in lines]

    def status(self) -> int | None:
        """Its exit status once it has ended; a negative number is a signal. None before.

        If it was asked to end or died by a signal, nothing that it started is left then: it is ended, too.
        """
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == 0:
                self._press()
                return None
            self._status = os.waitstatus_to_exitcode(status)
            self._ended_at = time.monotonic()
        if (self._status < 0 or self._asked_at is not None) and self._group_is_alive():
            self._end_group()
            return None
        return self._status

    def close(self) -> None:
        """Free what is left of it, once it has ended and its last messages are read."""
        os.close(self._reading)
        self._reading = -1

    def ask_to_end(self) -> None:
        """Ask it to end; from now on, `status` kills it if it takes longer than `GRACE_S`."""
        self._asked_at = self._asked_at or time.monotonic()
        self._press()

    def kill(self) -> None:
        """Kill it, and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _press(self) -> None:
        """Repeat a request to end, which a process misses while it starts another one; kill in the end."""
        now = time.monotonic()
        if self._asked_at is None or self._status is not None:
            return
        if now - self._asked_at > GRACE_S:
            self.kill()
        elif now - self._asked_again_at > _ASK_AGAIN_S:
            self._asked_again_at = now
            os.kill(self.pid, signal.SIGTERM)

    def _end_group(self) -> None:
        """End what it left behind. After its death by a signal, stages are saving their state: they ended with it."""
        waited = time.monotonic() - self._ended_at
        if waited > GRACE_S:
            self.kill()
        elif waited > (GRACE_S / 3 if (self._status or 0) < 0 else 0) and not self._group_asked:
            self._group_asked = True
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)

    def _group_is_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    @staticmethod
    def wait(processes: Iterable["ForkedProcess"], seconds: float) -> None:
        """Wait until one of the processes tells something or ends, or for some seconds."""
        readable = [process._reading for process in processes if process._reading >= 0]
        select.select(readable, [], [], seconds)


def _run(
    work: Callable[[Callable[[Message], None]], None],
    output: int,
    writing: int,
    environment: dict[str, str],
    maker: int,
) -> None:
    """What the forked process does; it never returns."""
    status = 1
    try:
        with suppress(PermissionError):
            os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        die_with_parent()
        if os.getppid() == maker:  # it may have died before it could be noticed
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.environ.update(environment)
            work(lambda message: _tell(writing, message))
            status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing of the maker's may run in this process
        traceback.print_exc()
    finally:
        with suppress(OSError):  # the disk may be full
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _tell(writing: int, message: Message) -> None:
    os.write(writing, json.dumps(message).encode() + b"\n")


class Forwarding:
    """SIGTERM for a process whose work is done by another one, which it starts and waits for.

    A request to end goes to the other process, once; this one goes on and takes note of how the other ends. Without
    another process it ends itself, unless it must not: what the other made is being saved.

    Attributes:
        must_not_end: Whether it goes on without another process.
        spared: Numbers of processes that do not count, as they do nothing yet.
    """

    def __init__(self) -> None:
        self.spared: set[int] = set()
        self.must_not_end = False
        self._told: set[int] = set()
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        import psutil

        children = [child for child in psutil.Process().children() if child.pid not in self.spared]
        for child in children:
            if child.pid not in self._told:
                self._told.add(child.pid)
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
        if not children and not self.must_not_end:
            raise SystemExit(128 + number)
