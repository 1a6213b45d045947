"""One thread for matrix products as small as those of a picture's latents: several wait longer than they compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = Lock()
_inside: list[Any] = []  # for each block in progress: the first one's limit, then nothing


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A block in which numpy's linear algebra has one thread. The last of several blocks restores what was before."""
    with _lock:
        if not _inside:
            _inside.append(_pools().limit(limits=1, user_api="blas"))
        else:
            _inside.append(None)
    try:
        yield
    finally:
        with _lock:
            limit = _inside[0]
            _inside.pop()
            if not _inside:
                limit.restore_original_limits()


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()
