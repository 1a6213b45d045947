"""One parallel run at a time in a checkout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from components.errors import RatewrightError
from pipeline.schedule.local.forked_process import GRACE_S


class Busy(RatewrightError):
    """A run that goes on holds the lock."""


@contextmanager
def only_run(path: Path, holder: int, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a checkout's runs. Stages hold it too, so that those of a killed run are waited for.

    Args:
        path: The lock's file.
        holder: Number of this process, which others name.
        say: Called with a line if there is something to wait for.

    Raises:
        Busy: Another run holds the lock.
        RatewrightError: Stages of a killed run hold it, and do not end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    named = path.with_suffix(".pid")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        other = named.read_text() if named.exists() else "?"
        if Path(f"/proc/{other}").exists():
            raise Busy(f"another run (process {other}) works in this checkout: wait for it or stop it") from None
        say("waiting for the stages of a killed run to end")
        try:
            lock.acquire(timeout=2 * GRACE_S)
        except Timeout:
            raise RatewrightError("stages of a killed run do not end; `ps` shows them") from None
    try:
        named.write_text(str(holder))
        yield
    finally:
        named.unlink(missing_ok=True)
        lock.release()
