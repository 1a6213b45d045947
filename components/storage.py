"""Single files that lie in a folder or in S3: read, written whole or not at all, removed."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from components.errors import RatewrightError, SourceError, one_line
from components.files import replacing
from components.images.remote_sources import S3
from components.images.sources import open_source


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


def save_tensors(tensors: Mapping[str, Any], location: str | Path, facts: Mapping[str, str]) -> None:
    """Write a .safetensors file, whole or not at all, with `facts` as its metadata.

    Raises RatewrightError, in one line, where it cannot be written: a full disk, no permission, a storage that refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        with storing(location) as temporary:
            save_file(plain, temporary, dict(facts))
            _order_facts(temporary)
    except (OSError, SafetensorError) as error:
        raise RatewrightError(f"{location}: cannot be written: {one_line(error)}") from error


def _order_facts(path: Path) -> None:
    """Sort the metadata in the header, which safetensors writes in a random order: same content, same bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        if len(text) > size:
            raise OSError("its header is not as safetensors writes it")
        file.seek(8)
        file.write(text)


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
