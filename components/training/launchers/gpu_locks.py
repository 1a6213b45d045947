"""Which training of this machine has which GPU: told by locks on files, which end with their process."""

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

_AGAIN_S = 1.0

_held: list[str] = []
"""What this process has."""


def visible(count: int) -> list[str]:
    """The names of this process's `count` GPUs, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (
        [str(number) for number in range(count)]
        if named is None
        else [name.strip() for name in named.split(",")][:count]
    )


def take(count: int, gpus: Sequence[str], folder: Path | None = None) -> list[str]:
    """`count` of `gpus`, which no other process of this machine gets until this one ends; waits for so many.

    What this process has it keeps, since CUDA does not change its devices. The locks lie in `folder`, by default that
    of temporary files.
    """
    folder = folder or Path(tempfile.gettempdir())
    while len(_held) < count:
        # One process at a time, or two could hold half of what each needs.
        with ExitStack() as turn, ExitStack() as locks:
            _lock(turn, folder / "ratewright-gpus.lock", wait=True)
            free = (name for name in gpus if _lock(locks, folder / f"ratewright-gpu-{name}.lock"))
            taken = list(islice(free, count))
            if len(taken) == count:
                _held.extend(taken)
                locks.pop_all()
        if len(_held) < count:
            time.sleep(_AGAIN_S)
    return _held[:count]


def _lock(stack: ExitStack, path: Path, *, wait: bool = False) -> bool:
    """Lock the file until `stack` ends; False where someone else has."""
    try:
        handle = os.open(path, os.O_RDONLY)  # another user's, perhaps
    except FileNotFoundError:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        return False
    stack.callback(os.close, handle)
    return True
