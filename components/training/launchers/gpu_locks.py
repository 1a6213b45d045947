"""Exclusive use of this machine's GPUs: a file lock for each GPU, released when the process that holds it ends."""

import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

_held: dict[str, FileLock] = {}
"""Locks of this process by the name of the GPU."""


def visible_gpus(count: int) -> list[str]:
    """Return the names of this process's `count` GPUs, as CUDA_VISIBLE_DEVICES gives them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (
        [str(number) for number in range(count)]
        if named is None
        else [name.strip() for name in named.split(",")][:count]
    )


def acquire_gpus(
    count: int, gpus: Sequence[str], folder: Path | None = None, *, retry_every_s: float = 1.0
) -> list[str]:
    """Lock `count` of `gpus` against every other process of this machine, and wait until so many are free.

    The process keeps the locks until it ends, since CUDA cannot change its devices.

    Args:
        count: number of GPUs.
        gpus: names of the GPUs to choose from.
        folder: where the lock files lie; by default the folder of temporary files.
        retry_every_s: seconds between two attempts.

    Returns:
        The names of the locked GPUs.
    """
    folder = folder or Path(tempfile.gettempdir())
    while len(_held) < count:
        # One process chooses at a time; otherwise two processes could each hold half of what both need.
        with _file_lock(folder / "ratewright-gpus.lock"):
            missing = count - len(_held)
            free = dict(islice(_free_gpus(gpus, folder), missing))
            if len(free) == missing:
                _held.update(free)
            else:
                for lock in free.values():
                    lock.release()
        if len(_held) < count:
            time.sleep(retry_every_s)
    return list(_held)[:count]


def _free_gpus(gpus: Sequence[str], folder: Path) -> Iterable[tuple[str, FileLock]]:
    """Yield the GPUs that no process holds, each locked as it is yielded."""
    for name in gpus:
        if name in _held:
            continue
        lock = _file_lock(folder / f"ratewright-gpu-{name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        yield name, lock


def _file_lock(path: Path) -> FileLock:
    """A lock on a file that every user of the machine may open, whoever created it."""
    return FileLock(path, mode=0o666)
