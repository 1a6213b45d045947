"""The manifest of a fetched data set: what lies in its folder, and where that came from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from components.errors import SourceError
from components.storage.atomic import read_json, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FetchedFile:
    """A picture of the set."""

    name: str
    """File name in the set's folder."""
    source_name: str
    """Where it came from: a name at the source; `archive/member` for a part of an archive."""
    sha256: str
    """Of the file in the folder."""
    source_sha256: str
    """Of the bytes at the source; another one where the picture was written anew as an RGB PNG."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class LostFile:
    """A file of the source that is no picture we can decode."""

    name: str
    """Name at the source."""
    reason: str


@dataclass(frozen=True)
class ArchiveFile:
    """An archive that pictures came from; it is not kept itself."""

    name: str
    sha256: str
    members: str
    md5: str | None = None
    """Where the set is pinned by it."""


@dataclass(frozen=True)
class Manifest:
    """What lies in a fetched folder. The same bytes give the same manifest, whichever mirror served them."""

    name: str
    source: str | None
    """The public address."""
    files: tuple[FetchedFile, ...]
    lost: tuple[LostFile, ...] = ()
    archives: tuple[ArchiveFile, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """The manifest in `path`. Raises SourceError if it is none."""
        try:
            value = read_json(path)
            return cls(
                name=value["name"],
                source=value["source"],
                files=tuple(FetchedFile(**entry) for entry in value["files"]),
                lost=tuple(LostFile(**entry) for entry in value["lost"]),
                archives=tuple(ArchiveFile(**entry) for entry in value["archives"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{path}: not the manifest of a fetched data set") from error

    def write(self, path: Path) -> None:
        """Write the manifest to `path`, whole or not at all."""
        write_json(path, asdict(self))
