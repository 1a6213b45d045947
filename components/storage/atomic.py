"""Atomic writing of files, and hashes of their content."""

import errno
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

    The folder is made where it does not exist. The file is on the disk before it is renamed, and its new name before
    this returns. Raises OSError.
    """
    _make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush_folder(path.parent)
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

    The former folder is renamed, and removed once the new one is in its place. If the process is killed between,
    the next call puts the former folder back first, whatever comes of the call.

    Raises OSError.
    """
    former = target.with_name(f".{target.name}.former")
    _make_folder(target.parent)
    _restore(former, target)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary.chmod(0o755)
        for path in source.iterdir():
            _link(path, temporary / path.name)
        _flush_folder(temporary)
        if target.exists():
            target.rename(former)
        temporary.rename(target)
        _flush_folder(target.parent)
    finally:
        _restore(former, target)
        shutil.rmtree(temporary, ignore_errors=True)


def _restore(former: Path, target: Path) -> None:
    """Rename the former folder back if nothing replaced it, else remove it."""
    if former.exists() and not target.exists():
        former.rename(target)
    elif former.exists():
        shutil.rmtree(former)


def _link(path: Path, target: Path) -> None:
    """Link a file, or copy it to the disk where links are refused."""
    try:
        os.link(path, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, target)
        with target.open("rb") as copied:
            os.fsync(copied.fileno())


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, with their names on the disk."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _flush_folder(each.parent)


def _flush_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where its file system can."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the answer of file systems that cannot
            raise
    finally:
        os.close(number)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. Raises ValueError for NaN and infinity, and OSError."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises OSError or ValueError."""
    return json.loads(path.read_text())
