"""Where a service's model comes from, and how it sees that there is a new one."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ..codecs.codec_files import CodecInUse, open_codec
from ..codecs.exported import DESCRIPTION, ExportedCodec
from ..errors import CheckpointError, one_line

Opener = Callable[[], CodecInUse]
"""Loads a codec; can be pickled."""


@dataclass(frozen=True)
class Version:
    """A version of a model, which any process of this machine can load.

    Attributes:
        label: Its name.
        open: Loads it.
    """

    label: str
    open: Opener


class ModelSource(Protocol):
    """A model whose versions follow each other. Called from one thread at a time.

    Attributes:
        name: As the user gave it.
    """

    name: str

    def newest(self) -> str:
        """The label of the version that should be served; it is asked for often. Raises RatewrightError."""

    def fetch(self, label: str, folder: Path) -> Opener:
        """Copy a version's files to an empty folder, from which it can be loaded whatever becomes of the source.

        Raises RatewrightError.
        """


class FileSource:
    """An exported folder or a checkpoint file. It is replaced by another one that is renamed to its place.

    Labels are the first digits of the SHA-256 of the file, or of a folder's codec.json, which has the others' hashes.
    """

    def __init__(self, path: Path):
        self.name, self._path = str(path), path
        self._seen: tuple[tuple[int, ...], str] | None = None

    def newest(self) -> str:
        """See ModelSource."""
        try:
            status = self._file(self._path).stat()
            identity = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
            if self._seen is None or self._seen[0] != identity:
                self._seen = identity, self._label(self._path)
        except OSError as error:
            raise CheckpointError(f"{self.name}: no exported codec and no checkpoint ({one_line(error)})") from error
        return self._seen[1]

    def fetch(self, label: str, folder: Path) -> Opener:
        """See ModelSource."""
        copy = folder / self._path.name
        try:
            if self._path.is_dir():
                shutil.copytree(self._path, copy)
            else:
                shutil.copyfile(self._path, copy)
            if self._label(copy) != label:
                raise CheckpointError(f"{self.name} changed while it was read")
        except (OSError, shutil.Error) as error:
            raise CheckpointError(f"{self.name}: cannot be copied ({one_line(error)})") from error
        return partial(ExportedCodec, copy, threads=1) if copy.is_dir() else partial(open_codec, copy)

    def _label(self, path: Path) -> str:
        with self._file(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]

    @staticmethod
    def _file(path: Path) -> Path:
        return path / DESCRIPTION if path.is_dir() else path
