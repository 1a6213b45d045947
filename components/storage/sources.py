"""Opening a data source by its location, and the two sources on this machine: folders and bundled photographs."""

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import MissingError, SourceError
from .atomic import replacing
from .picture_names import PICTURE_SUFFIXES
from .remote import S3, Http
from .source import Names, Source, checked_name

_BUNDLED = (("skimage", "data"), ("sklearn", "datasets/images"))


def open_source(location: str) -> Source:
    """The data source at a location. Nothing is contacted yet.

    Args:
        location: `bundled`, a folder (a path or file://), http(s)://, or s3://bucket/prefix.

    Raises:
        SourceError: for another scheme, or a folder that does not exist.
    """
    if location == "bundled":
        return Bundled()
    scheme = location.partition("://")[0].lower() if "://" in location else ""
    match scheme:
        case "http" | "https":
            return Http(location)
        case "s3":
            return S3(location)
        case "file":
            return Folder(Path(url2pathname(urlsplit(location).path)))
        case "":
            return Folder(Path(location).expanduser())
    raise SourceError(f"{location}: unknown kind of source (bundled, a folder, file://, http(s):// or s3://)")


class Folder:
    """The files under a folder and its subfolders, except hidden ones."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceError(f"{root}: no such folder")
        self.root = root

    def list(self) -> Names:
        """All names, sorted."""
        names = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(folder).relative_to(self.root)
            names += [(inside / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(names)

    def download(self, name: str, path: Path) -> None:
        """Copy the file to `path`."""
        with replacing(path) as temporary, _reading(self._find(name)):
            shutil.copyfile(self._find(name), temporary)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A byte range of the file."""
        return _range_of(self._find(name), offset, size)

    def fingerprint(self, name: str) -> str:
        """The size and the time of change."""
        with _reading(self._find(name)):
            status = self._find(name).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def close(self) -> None:
        """Nothing to close."""

    def _find(self, name: str) -> Path:
        path = self.root / checked_name(name)
        if not path.is_file():
            raise MissingError(f"{path}: no such file")
        return path


class Bundled:
    """The photographs in the wheels of scikit-image and scikit-learn; neither package is imported."""

    def __init__(self) -> None:
        self._folders = []
        for package, inside in _BUNDLED:
            spec = importlib.util.find_spec(package)
            if spec is not None and spec.submodule_search_locations:
                self._folders.append(Path(spec.submodule_search_locations[0]) / inside)

    def list(self) -> Names:
        """All names, sorted."""
        files = (path for folder in self._folders if folder.is_dir() for path in folder.iterdir())
        return sorted({path.name for path in files if path.suffix.lower() in PICTURE_SUFFIXES})

    def download(self, name: str, path: Path) -> None:
        """Copy the photograph to `path`."""
        with replacing(path) as temporary, _reading(self._find(name)):
            shutil.copyfile(self._find(name), temporary)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A byte range of the photograph's file."""
        return _range_of(self._find(name), offset, size)

    def fingerprint(self, name: str) -> str:
        """The sha256 of the file: its time of change is when the wheel was installed."""
        return hashlib.sha256(self._find(name).read_bytes()).hexdigest()

    def close(self) -> None:
        """Nothing to close."""

    def _find(self, name: str) -> Path:
        for folder in self._folders:
            path = folder / checked_name(name)
            if path.is_file():
                return path
        raise SourceError(f"bundled: neither scikit-image nor scikit-learn holds {name}")


def _range_of(path: Path, offset: int, size: int | None) -> bytes:
    with _reading(path), path.open("rb", buffering=0) as file:
        file.seek(offset)
        return (file.readall() if size is None else file.read(size)) or b""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise SourceError, in one line, for a file without permission to read."""
    try:
        yield
    except PermissionError as error:
        raise SourceError(f"{path}: may not be read") from error
