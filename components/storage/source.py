"""The interface of a data source: files by name, whether in a folder, on a web server or in S3."""

from pathlib import Path, PurePosixPath
from typing import Protocol

from ..errors import SourceError

Names = list[str]


class Source(Protocol):
    """A data source. Names are relative, with `/` between folders. Safe to use from several threads."""

    def list(self) -> Names:
        """All names, sorted. Raises SourceError where the source cannot be listed."""

    def download(self, name: str, path: Path) -> None:
        """Write the file `name` to `path`, atomically.

        Raises:
            MissingError: where the source has no such file.
            SourceError: where it cannot be read.
        """

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A byte range of the file `name`, shorter where the file ends.

        Args:
            name: of the file.
            offset: the first byte; past the end of the file, nothing is returned.
            size: the number of bytes, 1 or more; None for all.

        Raises:
            MissingError: where the source has no such file.
            SourceError: where it cannot be read.
        """

    def fingerprint(self, name: str) -> str:
        """A short string that changes when the file does, found without a download. Raises as `read` does."""

    def close(self) -> None:
        """Close connections."""


def checked_name(name: str) -> str:
    """`name` itself. Raises SourceError where it is empty, absolute, or leads out of its source."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise SourceError(f"{name!r} is not a file name inside a source")
    return name
