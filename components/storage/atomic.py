"""Atomic writing of files, and hashes of their content."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, whose file replaces `path` on success and is removed on an error.

    The folder is made where it does not exist, and the file is on the disk before it is renamed. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def hash_of(path: Path, kind: str) -> str:
    """The hexadecimal hash of a file's content, which is read piece by piece.

    Args:
        path: the file.
        kind: the name of the hash in hashlib, such as "md5".

    Raises:
        OSError: where the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file's content. Raises OSError where it cannot be read."""
    return hash_of(path, "sha256")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def link_folder(source: Path, target: Path) -> None:
    """Replace the folder `target` by one with the files of the flat folder `source`, linked or else copied.

    Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary.chmod(0o755)
        for path in source.iterdir():
            try:
                os.link(path, temporary / path.name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, temporary / path.name)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. Raises ValueError for NaN and infinity, and OSError."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises OSError or ValueError."""
    return json.loads(path.read_text())
