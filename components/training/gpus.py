"""Which training of this machine has which GPU: told by locks on files, which end with their process."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

_AGAIN_S = 1.0


def visible(count: int) -> list[str]:
    """The names of this process's `count` GPUs, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(number) for number in range(count)] if named is None else named.split(",")[:count]


@contextmanager
def leased(count: int, gpus: Sequence[str], folder: Path | None = None) -> Iterator[list[str]]:
    """`count` of `gpus`, which nobody else of this machine has meanwhile; waits until so many are free.

    The locks lie in `folder`, by default that of temporary files.
    """
    folder = folder or Path(tempfile.gettempdir())
    with ExitStack() as stack:
        while len(taken := _attempt(stack, count, gpus, folder)) < count:
            time.sleep(_AGAIN_S)
        yield taken


def _attempt(stack: ExitStack, count: int, gpus: Sequence[str], folder: Path) -> list[str]:
    """Lock `count` GPUs until `stack` ends, or none; one process at a time, or two could hold half of them each."""
    with ExitStack() as turn, ExitStack() as held:
        _lock(turn, folder / "ratewright-gpus.lock", wait=True)
        taken: list[str] = []
        for name in gpus:
            if len(taken) < count and _lock(held, folder / f"ratewright-gpu-{name}.lock"):
                taken.append(name)
        if len(taken) == count:
            stack.push(held.pop_all())
        return taken


def _lock(stack: ExitStack, path: Path, *, wait: bool = False) -> bool:
    """Lock the file until `stack` ends; False where someone else has."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        return False
    stack.callback(os.close, handle)
    return True
