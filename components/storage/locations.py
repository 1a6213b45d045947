"""Single files that lie in a folder or in S3: read, written whole or not at all, removed."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from components.errors import SourceError
from components.storage.atomic import replacing
from components.storage.remote import S3
from components.storage.sources import open_source


def is_remote(location: str | Path) -> bool:
    """Whether it has a scheme, as s3://bucket/key does and a path does not."""
    return "://" in str(location)


@contextmanager
def fetched(location: str | Path) -> Iterator[Path]:
    """The file at a path, or at an http(s):// or s3:// address, as a local path while the context lasts.

    Raises SourceError where it cannot be had, MissingError where it is not there.
    """
    if not is_remote(location):
        yield Path(location)
        return
    prefix, _, name = str(location).rpartition("/")
    with closing(open_source(prefix)) as source, tempfile.TemporaryDirectory() as folder:
        source.download(name, Path(folder) / name)
        yield Path(folder) / name


@contextmanager
def storing(location: str | Path) -> Iterator[Path]:
    """A temporary path whose file comes to lie at a path or an s3:// address in the end, unless an error ends it.

    Raises SourceError where it cannot be written, OSError on a full disk.
    """
    if not is_remote(location):
        with replacing(Path(location)) as temporary:
            yield temporary
        return
    with _s3(location) as (bucket, name), tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / name
        bucket.upload(Path(folder) / name, name)


def put(path: Path, location: str | Path) -> None:
    """Copy a file to a path or an s3:// address, whole or not at all. Raises SourceError or OSError."""
    if not is_remote(location):
        with replacing(Path(location)) as temporary:
            shutil.copyfile(path, temporary)
        return
    with _s3(location) as (bucket, name):
        bucket.upload(path, name)


def remove(location: str | Path) -> None:
    """Remove the file, if there is one. Raises SourceError."""
    if not is_remote(location):
        Path(location).unlink(missing_ok=True)
        return
    with _s3(location) as (bucket, name):
        bucket.remove(name)


def exists(location: str | Path) -> bool:
    """Whether there is such a file. Raises SourceError where that cannot be told."""
    if not is_remote(location):
        return Path(location).is_file()
    with _s3(location) as (bucket, name):
        return bucket.exists(name)


@contextmanager
def _s3(location: str | Path) -> Iterator[tuple[S3, str]]:
    prefix, _, name = str(location).rpartition("/")
    source = open_source(prefix)
    if not isinstance(source, S3):
        source.close()
        raise SourceError(f"{location}: only a folder or s3:// can be written to")
    with closing(source):
        yield source, name
