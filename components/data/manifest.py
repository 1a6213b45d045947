"""The manifest of a fetched data set: the pictures in its folder, and the files that they came from."""

from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field

from ..errors import SourceError
from ..settings import Settings
from ..storage.atomic import write_json

MANIFEST = "manifest.json"


class FetchedFile(Settings):
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


class UndecodableFile(Settings):
    """A file of the source that is left out, since it cannot be decoded as a picture."""

    name: str
    """Name at the source."""
    reason: str
    """The decoder's message, in one line."""


class ArchiveFile(Settings):
    """An archive that pictures came from; the archive itself is not kept."""

    name: str
    """Name at the source."""
    sha256: str
    """Of the archive."""
    members: str
    """The pattern that its pictures were chosen by."""
    md5: str | None = None
    """Of the archive, where the data set pins its md5."""


class Manifest(Settings):
    """The contents of a fetched folder. The same bytes give the same manifest, whichever mirror served them."""

    name: str
    """Of the data set."""
    source: str | None
    """The public address; null where there is none, or where each file has its own."""
    files: tuple[FetchedFile, ...]
    """The pictures, by name."""
    undecodable: tuple[UndecodableFile, ...] = Field((), validation_alias=AliasChoices("undecodable", "lost"))
    """The files left out, by name; version 0.1 called them `lost`."""
    archives: tuple[ArchiveFile, ...] = ()
    """The archives unpacked, by name."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The manifest in the file `path`. Raises SourceError for a file of another kind."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SourceError(f"{path}: not the manifest of a fetched data set") from error

    def write(self, path: Path) -> None:
        """Write the manifest to `path` atomically."""
        write_json(path, self.model_dump())
