"""Unpacking zip and tar archives that may be broken or hostile."""

import bz2
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ..errors import SourceError, one_line

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of the names of archives, in lower case."""

_CHUNK = 1 << 20
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # an encrypted zip; NotImplementedError, a compression that zipfile lacks
)


def is_archive(name: str) -> bool:
    """Whether a file name ends like that of an archive that `unpack` reads."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, into: Path, *, max_bytes: int, max_files: int) -> list[Path]:
    """Unpack a zip or tar archive, plain or compressed by gz, bz2 or xz, into a folder of its own.

    Args:
        archive: the file; its name tells the format.
        into: the folder, which is replaced once everything is unpacked.
        max_bytes: of all files written, whatever the archive's headers say.
        max_files: members of the archive, folders included.

    Returns:
        The paths of the files written, sorted.

    Raises:
        SourceError: for a broken or encrypted archive, one past the bounds, and one with a path outside of it, a
            link, a device, or two files of one name. Nothing is left behind.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
    try:
        temporary.chmod(0o755)
        _unpack(archive, temporary, max_bytes, max_files)
        if into.exists():
            shutil.rmtree(into)
        temporary.rename(into)
    except _BROKEN as error:
        raise SourceError(f"{archive.name}: cannot be unpacked: {one_line(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path for path in into.rglob("*") if path.is_file())


def _unpack(archive: Path, into: Path, max_bytes: int, max_files: int) -> None:
    if archive.name.lower().endswith(".zip"):
        members = _zip_members(archive)
    else:
        # Headers and padding count beside the files: a tar's headers may be as long as they like.
        members = _tar_members(archive, max_bytes + 2048 * max_files + (1 << 20))
    left = max_bytes
    for count, (name, content) in enumerate(members, start=1):
        if count > max_files:
            raise SourceError(f"{archive.name}: more than {max_files} members")
        target = into / _inside(archive, name)
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := content.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise SourceError(f"{archive.name}: unpacks to more than {max_bytes} bytes")
                file.write(chunk)


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The relative path of a member. Raises SourceError where it leads out of the archive."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name.partition("/")[0]:
        raise SourceError(f"{archive.name}: the member {name!r} lies outside of the archive")
    return path


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Names of the members with their contents, or None for a folder."""
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise SourceError(f"{archive.name}: the member {info.filename!r} is a link or a device")
            if info.is_dir():
                yield info.filename, None
                continue
            with opened.open(info) as content:
                yield info.filename, content


def _tar_members(archive: Path, max_read: int) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Names of the members with their contents, or None for a folder; `max_read` bounds the bytes of the tar."""
    with _decompressed(archive) as raw:
        metered = _Metered(raw, archive, max_read)
        with tarfile.open(fileobj=metered, mode="r|") as opened:  # type: ignore[call-overload]
            for member in opened:
                if not (member.isreg() or member.isdir()):
                    raise SourceError(f"{archive.name}: the member {member.name!r} is a link or a device")
                yield member.name, opened.extractfile(member)
        # The checksum of the compression comes last, behind what tarfile reads.
        while metered.read(_CHUNK):
            pass


def _decompressed(archive: Path) -> IO[bytes]:
    name = archive.name.lower()
    if name.endswith(("gz", "tgz")):
        return cast(IO[bytes], gzip.open(archive))
    if name.endswith("bz2"):
        return bz2.open(archive)
    if name.endswith("xz"):
        return lzma.open(archive)
    return archive.open("rb")


class _Metered:
    """A readable stream that raises SourceError past a number of bytes."""

    def __init__(self, raw: IO[bytes], archive: Path, max_read: int) -> None:
        self._raw = raw
        self._archive = archive
        self._max_read = max_read
        self._left = max_read

    def read(self, size: int = -1, /) -> bytes:
        data = self._raw.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise SourceError(f"{self._archive.name}: unpacks to more than {self._max_read} bytes")
        return data
