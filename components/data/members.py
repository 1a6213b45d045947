"""The pictures in an unpacked archive."""

from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from components.data.archives import is_archive
from components.data.cifar10 import is_batch, read_batch
from components.data.image_files import encode_png
from components.data.names import of_use

Member = Callable[[], bytes]
"""Gives the bytes of a picture file."""


def members_in(folder: Path, pattern: str) -> dict[str, Member]:
    """The pictures under `folder` whose paths match `pattern`, by path, sorted.

    A batch gives as many, as PNG files: `<its path>/<file name>`. Raises SourceError for a broken one.
    """
    found: dict[str, Member] = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).as_posix()
        if path.is_file() and is_batch(inside):
            found |= {f"{inside}/{name}": partial(encode_png, rgb) for name, rgb in read_batch(path).items()}
        elif path.is_file():
            found[inside] = path.read_bytes
    return {path: found[path] for path in of_use(found) if fnmatch(path, pattern) and not is_archive(path)}
