"""Single files in a folder or in S3: reading, atomic writing, copying, removing."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..errors import SourceError
from .atomic import replacing
from .remote import S3
from .sources import open_source


def is_remote(location: str | Path) -> bool:
    """Whether a location is an address such as s3://bucket/key, and not a path."""
    return "://" in str(location)


@contextmanager
def fetched(location: str | Path) -> Iterator[Path]:
    """A local path of the file at `location`: the path itself, or a copy that lasts as long as the context.

    Args:
        location: a path, or an http(s):// or s3:// address.

    Raises:
        MissingError: where there is no such file at an address.
        SourceError: where it cannot be downloaded.
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
    """A temporary path whose file is stored at `location` on success, atomically; on an error nothing is stored.

    Args:
        location: a path, or an s3:// address.

    Raises:
        SourceError: where the address cannot be written to.
        OSError: on a full disk, or without permission.
    """
    if not is_remote(location):
        with replacing(Path(location)) as temporary:
            yield temporary
        return
    with _s3(location) as (bucket, name), tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / name
        bucket.upload(Path(folder) / name, name)


def put(path: Path, location: str | Path) -> None:
    """Copy a file to another path or an s3:// address, atomically. Raises SourceError or OSError as `storing` does."""
    if not is_remote(location):
        with replacing(Path(location)) as temporary:
            shutil.copyfile(path, temporary)
        return
    with _s3(location) as (bucket, name):
        bucket.upload(path, name)


def remove(location: str | Path) -> None:
    """Remove the file at a path or an s3:// address, if there is one. Raises SourceError or OSError."""
    if not is_remote(location):
        Path(location).unlink(missing_ok=True)
        return
    with _s3(location) as (bucket, name):
        bucket.remove(name)


def exists(location: str | Path) -> bool:
    """Whether there is a file at a path or an s3:// address. Raises SourceError where S3 does not answer."""
    if not is_remote(location):
        return Path(location).is_file()
    with _s3(location) as (bucket, name):
        return bucket.exists(name)


@contextmanager
def _s3(location: str | Path) -> Iterator[tuple[S3, str]]:
    """The bucket's client, and the name of the object. Raises SourceError for an address of another kind."""
    prefix, _, name = str(location).rpartition("/")
    source = open_source(prefix)
    if not isinstance(source, S3):
        source.close()
        raise SourceError(f"{location}: only a folder or s3:// can be written to")
    with closing(source):
        yield source, name
