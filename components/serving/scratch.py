"""The folder for the files of versions, also where a service was killed before it could remove its own."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "ratewright-serve-"
_YOUNG_S = 60.0
"""A folder that young may not be locked yet."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, which is locked while it is in use. Those that killed services left are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # in use, removed meanwhile, or another account's
            if time.time() - left.stat().st_mtime > _YOUNG_S:
                with _locked(left):
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A lock that ends with the process at the latest. Raises OSError where another process has it."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)
