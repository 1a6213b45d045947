"""Downloading a data set into a folder: hashes are checked, pictures decoded, and listed in a manifest."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ..errors import ImageError, SourceError
from ..storage.atomic import hash_of, sha256_of, write_bytes
from ..storage.source import Source
from .archives import is_archive, unpack
from .cifar10 import is_batch, read_batch
from .dataset import NamedDataset, archive_of, pictures_and_archives, stored_names
from .fetch_journal import WORK, Journal
from .image_files import decode, encode_png
from .listing import kind_of
from .manifest import MANIFEST, ArchiveFile, FetchedFile, Manifest, UndecodableFile

MAX_ARCHIVE_BYTES = 1 << 35
"""Of all files unpacked from one archive."""
MAX_ARCHIVE_FILES = 1_000_000
"""In one archive, folders included."""

Progress = Callable[[int, int], None]
"""Called with the number of pictures done and the number of all pictures."""

R = TypeVar("R")
_Member = Callable[[], bytes]  # reads the bytes of a picture file that was in an archive


def fetch(
    dataset: NamedDataset,
    out: Path,
    *,
    present: str | None = None,
    workers: int = 8,
    progress: Progress = lambda _done, _total: None,
) -> Manifest:
    """Bring the folder `out` to hold the pictures of a data set and a manifest.json, and nothing else.

    A plain 8-bit RGB file is kept as it came; any other picture is rewritten as an RGB PNG. A picture that lies in the
    folder with the right hash is not fetched again, so a run that was killed can be repeated. The manifest is written
    last: a folder that has one is complete.

    Args:
        dataset: the data set.
        out: the folder, which is made where it does not exist.
        present: the revision of the pictures that lie there. Where the data set's revision is another, only files
            with a known hash are kept.
        workers: files that are downloaded and decoded at a time.
        progress: called after each picture.

    Returns:
        The manifest that was written.

    Raises:
        SourceError: in one line, for a source that cannot be reached or lacks a file, a wrong hash, a larger share of
            undecodable pictures than `max_loss`, and an empty set.
    """
    listing = dataset.listing()
    address, expected = listing.address, listing.hashes
    revision = dataset.definition.revision
    with closing(dataset.open(listing, out)) as source:
        names = dataset.file_names(expected, source)
        with Journal(out, (address, revision), revision in (None, present)) as journal:
            manifest = _Fetch(dataset, expected, source, out, journal).run(names, address, workers, progress)
    _check(manifest, dataset.definition.max_loss)
    _remove_others(out, {WORK, *(file.name for file in manifest.files)})
    manifest.write(out / MANIFEST)
    # Renamed first: a folder half removed would tell the next run that an archive holds less than it does.
    (out / WORK).replace(out / f"{WORK}-done")
    shutil.rmtree(out / f"{WORK}-done")
    return manifest


class _Fetch:
    """One fetch under way."""

    def __init__(
        self, dataset: NamedDataset, expected: dict[str, str], source: Source, out: Path, journal: Journal
    ) -> None:
        self.name, self.pattern, self.expected = dataset.name, dataset.definition.members, expected
        self.source, self.out, self.journal = source, out, journal
        self.work = out / WORK
        self.archives = journal.archives
        self.unpacked: dict[str, _Member] = {}

    def run(self, names: list[str], address: str | None, workers: int, progress: Progress) -> Manifest:
        """Fetch the files of these names: archives first, since their members are known only once they are there."""
        archives = [name for name in names if is_archive(name)]
        pictures = [name for name in names if not is_archive(name)]
        with ThreadPoolExecutor(workers) as pool:
            pictures += self._members_of(archives, pictures, pool)
            stored = stored_names(pictures)
            results: dict[str, FetchedFile | UndecodableFile] = {}
            progress(0, len(pictures))
            for name, result in _each(pool, lambda name: self._picture(name, stored[name]), pictures):
                results[name] = result
                progress(len(results), len(pictures))
        files = [result for result in results.values() if isinstance(result, FetchedFile)]
        undecodable = [result for result in results.values() if isinstance(result, UndecodableFile)]
        return Manifest(
            name=self.name,
            source=address,
            files=tuple(sorted(files, key=lambda file: file.name)),
            undecodable=tuple(sorted(undecodable, key=lambda file: file.name)),
            archives=tuple(self.archives[name] for name in archives),
        )

    def _members_of(self, archives: list[str], pictures: list[str], pool: ThreadPoolExecutor) -> list[str]:
        """Source names of all pictures in the archives, of which those not complete in the folder are unpacked."""
        members = {name: self._recorded_members(name) for name in archives}
        stored = stored_names([*pictures, *_chain(members)])
        missing = [name for name in archives if not self._all_reusable(members[name], stored)]
        for name, (record, unpacked) in _each(pool, self._unpack, missing):
            self.archives[name] = record
            self.unpacked |= unpacked
            members[name] = list(unpacked)
        return _chain(members)

    def _picture(self, name: str, stored: tuple[str, str]) -> FetchedFile | UndecodableFile:
        """One picture: from the folder if it is there, else from its archive or the source."""
        if (reusable := self._reusable(name, stored)) is not None:
            return reusable
        data = self._bytes(name, self.out / stored[0])
        result: FetchedFile | UndecodableFile
        try:
            result = self._store(name, stored, data)
        except ImageError as error:
            result = UndecodableFile(name=name, reason=str(error))
        self.journal.add(result)
        return result

    def _store(self, name: str, stored: tuple[str, str], data: bytes) -> FetchedFile:
        """Write the picture in `data` to the folder, as PNG if it is not plain. Raises ImageError."""
        decoded = decode(data)
        source_sha256 = hashlib.sha256(data).hexdigest()
        if not decoded.plain:
            data = encode_png(decoded.rgb)
        path = self.out / stored[0 if decoded.plain else 1]
        write_bytes(path, data)
        height, width = decoded.rgb.shape[:2]
        return FetchedFile(
            name=path.name,
            source_name=name,
            sha256=hashlib.sha256(data).hexdigest(),
            source_sha256=source_sha256,
            width=width,
            height=height,
        )

    def _reusable(self, name: str, stored: tuple[str, str]) -> FetchedFile | UndecodableFile | None:
        """The record of an earlier run for this file, if it still holds."""
        record = self.journal.files.get(name)
        if isinstance(record, UndecodableFile):
            # No hash tells whether an undecodable file that was in no archive has changed.
            return record if archive_of(name) in self.archives and name not in self.unpacked else None
        if record is None or record.name not in stored:
            return None
        read = self.unpacked.get(name)
        now = hashlib.sha256(read()).hexdigest() if read is not None else self.expected.get(name)
        if now not in (None, record.source_sha256):
            return None
        return record if _hash(self.out / record.name, "sha256") == record.sha256 else None

    def _all_reusable(self, members: list[str], stored: dict[str, tuple[str, str]]) -> bool:
        return bool(members) and all(self._reusable(member, stored[member]) is not None for member in members)

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
            what = f"{self.name}: {name} has the wrong content"
            raise SourceError(f"{what}: expected {kind_of(expected)} {expected[:12]}, found {found[:12]}")
        return path

    def _unpack(self, name: str) -> tuple[ArchiveFile, dict[str, _Member]]:
        """Unpack an archive in the work folder, unless a killed run did; its record and its members."""
        into = self._unpacked_folder(name)
        record = self.archives.get(name)
        if record is not None and into.is_dir() and self._is_expected(record):
            return record.model_copy(update={"members": self.pattern}), self._unpacked_members(name)
        path = self._download(name)
        expected = self.expected.get(name, "")
        md5 = expected if kind_of(expected) == "md5" else None
        record = ArchiveFile(name=name, sha256=sha256_of(path), members=self.pattern, md5=md5)
        unpack(path, into, max_bytes=MAX_ARCHIVE_BYTES, max_files=MAX_ARCHIVE_FILES)
        path.unlink()
        unpacked = self._unpacked_members(name)
        self.journal.add(record)
        return record, unpacked

    def _is_expected(self, record: ArchiveFile) -> bool:
        return self.expected.get(record.name) in (None, record.sha256, record.md5)

    def _unpacked_folder(self, name: str) -> Path:
        return self.work / "unpacked" / quote(name, safe="")

    def _unpacked_members(self, name: str) -> dict[str, _Member]:
        found = _members_in(self._unpacked_folder(name), self.pattern)
        return {f"{name}/{inside}": read for inside, read in found.items()}

    def _recorded_members(self, name: str) -> list[str]:
        """Source names of the archive's members by the journal; none where the archive must be unpacked anew."""
        record = self.archives.get(name)
        if record is None or record.members != self.pattern or self._unpacked_folder(name).is_dir():
            return []
        if not self._is_expected(record):
            return []
        return sorted(known for known in self.journal.files if known.startswith(f"{name}/"))


def _members_in(folder: Path, pattern: str) -> dict[str, _Member]:
    """The pictures of an unpacked archive whose paths match `pattern`, by path, sorted.

    A CIFAR-10 batch gives its pictures as PNG files: `<path of the batch>/<file name>`. Raises SourceError for a
    broken one.
    """
    found: dict[str, _Member] = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).as_posix()
        if path.is_file() and is_batch(inside):
            found |= {f"{inside}/{name}": partial(encode_png, rgb) for name, rgb in read_batch(path).items()}
        elif path.is_file():
            found[inside] = path.read_bytes
    pictures = (path for path in pictures_and_archives(found) if not is_archive(path))
    return {path: found[path] for path in pictures if fnmatch(path, pattern)}


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


def _check(manifest: Manifest, max_loss: float) -> None:
    """Raise SourceError for an empty set, or one with a larger share of undecodable files than `max_loss`."""
    undecodable, total = len(manifest.undecodable), len(manifest.undecodable) + len(manifest.files)
    if undecodable > max_loss * total:
        first = manifest.undecodable[0]
        what = f"{undecodable} of {total} files are no pictures we can decode (first: {first.name}: {first.reason})"
        raise SourceError(f"{manifest.name}: {what}")
    if not manifest.files:
        raise SourceError(f"{manifest.name}: an empty data set: no pictures at {manifest.source or 'the mirror'}")


def _remove_others(out: Path, keep: set[str]) -> None:
    """Remove all files and folders whose names are not in `keep`."""
    for path in out.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _hash(path: Path, kind: str) -> str | None:
    """The hash of a file's content; None where there is no file."""
    return hash_of(path, kind) if path.exists() else None
