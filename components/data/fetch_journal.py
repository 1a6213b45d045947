"""The journal of a fetch: what earlier runs did in a folder, so that a run that was killed can be resumed."""

import json
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Self

from ..errors import SourceError
from .manifest import MANIFEST, ArchiveFile, FetchedFile, Manifest, UndecodableFile

WORK = ".fetch"
"""Folder inside the output while a fetch is under way: downloads, unpacked archives, and the journal."""

_KINDS = {"file": FetchedFile, "undecodable": UndecodableFile, "archive": ArchiveFile}

Record = FetchedFile | UndecodableFile | ArchiveFile


class Journal:
    """Records of the files and archives that were fetched into a folder, read on entering, and written as they come.

    While it is open, the folder has no manifest and so counts as incomplete.

    Args:
        out: the folder that pictures are fetched into.
        origin: the public address and the wanted revision; records of another origin are dropped.
        is_present: whether the pictures of an existing manifest are of the wanted revision.
    """

    def __init__(self, out: Path, origin: tuple[str | None, str | None], is_present: bool) -> None:
        self._out, self._origin, self._is_present = out, list(origin), is_present
        self._writing = Lock()
        self.files: dict[str, FetchedFile | UndecodableFile] = {}
        """By name at the source."""
        self.archives: dict[str, ArchiveFile] = {}
        """By name at the source."""

    def __enter__(self) -> Self:
        work = self._out / WORK
        work.mkdir(parents=True, exist_ok=True)
        former, lines = work / "former.json", work / "journal.jsonl"
        if (self._out / MANIFEST).is_file():
            (self._out / MANIFEST).replace(former)
        if former.is_file():
            with suppress(SourceError):
                self._recall_manifest(Manifest.read(former))
        for line in lines.read_text().splitlines() if lines.is_file() else ():
            # A line that a killed run left unfinished is ignored.
            with suppress(ValueError, TypeError, KeyError):
                self._recall_line(*json.loads(line))
        self._file = lines.open("a")
        # The line break ends a line that a killed run left unfinished.
        self._file.write("\n")
        self._write("source", self._origin)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: Record) -> None:
        """Append a record to the journal's file, from any thread."""
        kind = next(kind for kind, record_type in _KINDS.items() if isinstance(record, record_type))
        with self._writing:
            self._write(kind, record.model_dump())

    def _write(self, kind: str, value: Any) -> None:
        self._file.write(json.dumps([kind, value]) + "\n")
        self._file.flush()

    def _recall_manifest(self, manifest: Manifest) -> None:
        if manifest.source == self._origin[0] and self._is_present:
            self.files |= {file.source_name: file for file in manifest.files}
            self.files |= {file.name: file for file in manifest.undecodable}
            self.archives |= {archive.name: archive for archive in manifest.archives}

    def _recall_line(self, kind: str, value: Any) -> None:
        if kind == "source" and value != self._origin:
            self.files.clear()
            self.archives.clear()
        elif kind == "file":
            self.files[value["source_name"]] = FetchedFile(**value)
        elif kind == "undecodable":
            self.files[value["name"]] = UndecodableFile(**value)
        elif kind == "archive":
            self.archives[value["name"]] = ArchiveFile(**value)
