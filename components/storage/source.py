"""The protocol of a place that data comes from."""

from pathlib import Path, PurePosixPath
from typing import Protocol

from components.errors import SourceError

Names = list[str]


class Source(Protocol):
    """Files by name. Names are relative, with `/` between folders. Safe to use from several threads."""

    def list(self) -> Names:
        """All names, sorted. SourceError where the source cannot tell."""

    def download(self, name: str, path: Path) -> None:
        """Write the file to `path`, whole or not at all. SourceError says what is missing, and where."""

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes (1 or more; None: all) from `offset` on, fewer only where the file ends, and none beyond it.

        SourceError as above.
        """

    def fingerprint(self, name: str) -> str:
        """A short string that changes when the file does, told without a download. SourceError as above."""

    def close(self) -> None:
        """Give connections back."""


def checked_name(name: str) -> str:
    """`name`, if it stays inside its source. Raises SourceError."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise SourceError(f"{name!r} is not a file name inside a source")
    return name
