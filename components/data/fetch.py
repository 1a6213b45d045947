"""A data set fetched into a folder: the right bytes, decodable, listed in a manifest."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import Any, Self, TypeVar
from urllib.parse import quote

from components.data.archives import is_archive, unpack
from components.data.dataset import FetchSpec, kind_of
from components.data.image_files import decode, encode_png
from components.data.manifest import MANIFEST, ArchiveFile, FetchedFile, LostFile, Manifest
from components.data.members import Member, members_in
from components.data.names import archive_of, stored_names
from components.errors import ImageError, SourceError
from components.storage.atomic import hash_of, sha256_of, write_bytes
from components.storage.source import Source

MAX_ARCHIVE_BYTES = 1 << 35
MAX_ARCHIVE_FILES = 1_000_000

_WORK = ".fetch"
"""Folder inside the output while a fetch is under way: downloads, unpacked archives, and the journal."""

R = TypeVar("R")


def fetch(
    spec: FetchSpec,
    out: Path,
    *,
    present: str | None = None,
    workers: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Bring the folder `out` to hold the pictures of `spec` and a manifest.json; nothing else is left in it.

    A picture is kept as it came if it is a plain 8-bit RGB file, and is written as an RGB PNG otherwise. What
    lies there with the right hash already is not fetched again, so a run that was killed can be repeated. The
    manifest is written last: a folder that has one is complete. `present` is the revision that lies there: where
    `spec.revision` is another, only files with a known hash are kept. `progress` gets (pictures done, pictures).

    Raises SourceError, in one line, for a source that cannot be reached or lacks a file, a wrong hash, more
    than `spec.max_loss` undecodable pictures, and an empty set.
    """
    public, expected = spec.public()
    with closing(spec.open(public, out)) as source:
        names = spec.names(expected, source)
        with _Run(spec, present, public, expected, source, out) as run:
            manifest = run.fetch(names, workers, progress or (lambda _done, _total: None))
    _perceptual(manifest, spec.max_loss)
    _sweep(out, {_WORK, *(file.name for file in manifest.files)})
    manifest.write(out / MANIFEST)
    # Renamed first: a folder half removed would tell the next run that an archive holds less than it does.
    (out / _WORK).replace(out / f"{_WORK}-done")
    shutil.rmtree(out / f"{_WORK}-done")
    return manifest


class _Run:
    """One fetch under way, with the journal that a later run resumes from."""

    def __init__(
        self,
        spec: FetchSpec,
        present: str | None,
        public: str | None,
        expected: dict[str, str],
        source: Source,
        out: Path,
    ) -> None:
        self.origin = [public, spec.revision]
        self.is_present = spec.revision in (None, present)
        self.spec, self.public, self.expected, self.source, self.out = spec, public, expected, source, out
        self.work = out / _WORK
        self.known: dict[str, FetchedFile | LostFile] = {}
        self.archives: dict[str, ArchiveFile] = {}
        self.unpacked: dict[str, Member] = {}
        self.writing = Lock()

    def __enter__(self) -> Self:
        self.work.mkdir(parents=True, exist_ok=True)
        former = self.work / "former.json"
        # From here on the folder counts as incomplete.
        if (self.out / MANIFEST).is_file():
            (self.out / MANIFEST).replace(former)
        self._recall(former, self.work / "journal.jsonl")
        self.journal = (self.work / "journal.jsonl").open("a")
        # The line break parts it from a line that a killed run left unfinished.
        self.journal.write("\n")
        self._note("source", self.origin)
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    def fetch(self, names: list[str], workers: int, progress: Callable[[int, int], None]) -> Manifest:
        """Fetch the files of these names; the archives first, since only they know what is in them."""
        archives = [name for name in names if is_archive(name)]
        with ThreadPoolExecutor(workers) as pool:
            members = {name: self._recalled_members(name) for name in archives}
            wanted = [name for name in names if not is_archive(name)]
            stored = stored_names([*wanted, *_chain(members)])
            missing = [name for name in archives if not self._all_there(members[name], stored)]
            for name, (record, unpacked) in _each(pool, self._unpack, missing):
                self.archives[name] = record
                self.unpacked |= unpacked
                members[name] = list(unpacked)
            wanted += _chain(members)
            stored = stored_names(wanted)
            results: dict[str, FetchedFile | LostFile] = {}
            progress(0, len(wanted))
            for name, result in _each(pool, lambda name: self._picture(name, stored[name]), wanted):
                results[name] = result
                progress(len(results), len(wanted))
        files = [result for result in results.values() if isinstance(result, FetchedFile)]
        lost = [result for result in results.values() if isinstance(result, LostFile)]
        return Manifest(
            name=self.spec.name,
            source=self.public,
            files=tuple(sorted(files, key=lambda file: file.name)),
            lost=tuple(sorted(lost, key=lambda file: file.name)),
            archives=tuple(self.archives[name] for name in archives),
        )

    def _picture(self, name: str, stored: tuple[str, str]) -> FetchedFile | LostFile:
        """One picture: from the folder if it is there, else from its archive or the source."""
        if (kept := self._kept(name, stored)) is not None:
            return kept
        data = self._bytes(name, self.out / stored[0])
        try:
            result = self._store(name, stored, data)
        except ImageError as error:
            lost = LostFile(name, str(error))
            self._note("lost", asdict(lost))
            return lost
        self._note("file", asdict(result))
        return result

    def _store(self, name: str, stored: tuple[str, str], data: bytes) -> FetchedFile:
        """Write the picture in `data` to the folder, anew if it is not plain. Raises ImageError."""
        decoded = decode(data)
        source_sha256 = hashlib.sha256(data).hexdigest()
        if not decoded.plain:
            data = encode_png(decoded.rgb)
        path = self.out / stored[0 if decoded.plain else 1]
        write_bytes(path, data)
        height, width = decoded.rgb.shape[:2]
        return FetchedFile(path.name, name, hashlib.sha256(data).hexdigest(), source_sha256, width, height)

    def _kept(self, name: str, stored: tuple[str, str]) -> FetchedFile | LostFile | None:
        """What a former run made of this file, if that still holds."""
        entry = self.known.get(name)
        if isinstance(entry, LostFile):
            # Of a file by itself nothing is known that would tell whether it is still the same.
            return entry if archive_of(name) in self.archives and name not in self.unpacked else None
        if entry is None or entry.name not in stored:
            return None
        read = self.unpacked.get(name)
        now = hashlib.sha256(read()).hexdigest() if read is not None else self.expected.get(name)
        if now not in (None, entry.source_sha256):
            return None
        return entry if _hash(self.out / entry.name, "sha256") == entry.sha256 else None

    def _bytes(self, name: str, present: Path) -> bytes:
        if name in self.unpacked:
            return self.unpacked[name]()
        if name in self.expected and _hash(present, kind_of(self.expected[name])) == self.expected[name]:
            return present.read_bytes()
        path = self._download(name)
        data = path.read_bytes()
        path.unlink()
        return data

    def _download(self, name: str) -> Path:
        path = self.work / "downloads" / quote(name, safe="")
        self.source.download(name, path)
        if (expected := self.expected.get(name)) is None:
            return path
        if (found := hash_of(path, kind_of(expected))) != expected:
            path.unlink()
            what = f"{self.spec.name}: {name} has the wrong content"
            raise SourceError(f"{what}: expected {kind_of(expected)} {expected[:12]}, found {found[:12]}")
        return path

    def _unpack(self, name: str) -> tuple[ArchiveFile, dict[str, Member]]:
        """Have the archive unpacked in the work folder, where a killed run may have left it; and its members."""
        into = self._unpacked_folder(name)
        record = self.archives.get(name)
        if record is not None and into.is_dir() and self._is_expected(record):
            return replace(record, members=self.spec.members), self._unpacked_members(name)
        path = self._download(name)
        expected = self.expected.get(name, "")
        md5 = expected if kind_of(expected) == "md5" else None
        record = ArchiveFile(name, sha256_of(path), self.spec.members, md5)
        unpack(path, into, max_bytes=MAX_ARCHIVE_BYTES, max_files=MAX_ARCHIVE_FILES)
        path.unlink()
        unpacked = self._unpacked_members(name)
        self._note("archive", asdict(record))
        return record, unpacked

    def _is_expected(self, record: ArchiveFile) -> bool:
        return self.expected.get(record.name) in (None, record.sha256, record.md5)

    def _unpacked_folder(self, name: str) -> Path:
        return self.work / "unpacked" / quote(name, safe="")

    def _unpacked_members(self, name: str) -> dict[str, Member]:
        found = members_in(self._unpacked_folder(name), self.spec.members)
        return {f"{name}/{inside}": read for inside, read in found.items()}

    def _recalled_members(self, name: str) -> list[str]:
        record = self.archives.get(name)
        if record is None or record.members != self.spec.members or self._unpacked_folder(name).is_dir():
            return []
        if not self._is_expected(record):
            return []
        return sorted(known for known in self.known if known.startswith(f"{name}/"))

    def _all_there(self, members: list[str], stored: dict[str, tuple[str, str]]) -> bool:
        return bool(members) and all(self._kept(member, stored[member]) is not None for member in members)

    def _recall(self, former: Path, journal: Path) -> None:
        """Read what earlier runs left, as far as it speaks of the same files of the same public source."""
        if former.is_file():
            with suppress(SourceError):
                manifest = Manifest.read(former)
                if manifest.source == self.public and self.is_present:
                    self.known |= {file.source_name: file for file in manifest.files}
                    self.known |= {file.name: file for file in manifest.lost}
                    self.archives |= {archive.name: archive for archive in manifest.archives}
        for line in journal.read_text().splitlines() if journal.is_file() else ():
            # A line that a killed run left unfinished is as good as none.
            with suppress(ValueError, TypeError, KeyError):
                self._recall_line(*json.loads(line))

    def _recall_line(self, kind: str, value: Any) -> None:
        if kind == "source" and value != self.origin:
            self.known.clear()
            self.archives.clear()
        elif kind == "file":
            self.known[value["source_name"]] = FetchedFile(**value)
        elif kind == "lost":
            self.known[value["name"]] = LostFile(**value)
        elif kind == "archive":
            self.archives[value["name"]] = ArchiveFile(**value)

    def _note(self, kind: str, value: Any) -> None:
        with self.writing:
            self.journal.write(json.dumps([kind, value]) + "\n")
            self.journal.flush()


def _chain(members: dict[str, list[str]]) -> list[str]:
    return [member for name in members for member in members[name]]


def _each(pool: ThreadPoolExecutor, work: Callable[[str], R], names: Iterable[str]) -> Iterator[tuple[str, R]]:
    """Results as they come; at the first error the work not yet begun is dropped."""
    futures = {pool.submit(work, name): name for name in names}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def _perceptual(manifest: Manifest, max_loss: float) -> None:
    lost, total = len(manifest.lost), len(manifest.lost) + len(manifest.files)
    if lost > max_loss * total:
        first = manifest.lost[0]
        what = f"{lost} of {total} files are no pictures we can decode (first: {first.name}: {first.reason})"
        raise SourceError(f"{manifest.name}: {what}")
    if not manifest.files:
        raise SourceError(f"{manifest.name}: an empty data set: no pictures at {manifest.source or 'the mirror'}")


def _sweep(out: Path, keep: set[str]) -> None:
    """Remove what does not belong."""
    for path in out.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _hash(path: Path, kind: str) -> str | None:
    """Of the file's content; None where there is no file."""
    return hash_of(path, kind) if path.exists() else None
