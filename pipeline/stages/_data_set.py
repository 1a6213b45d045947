"""The pictures of a fetched data set."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from components.arrays import Rgb
from components.data.manifest import MANIFEST, Manifest
from components.errors import SourceError


def manifest(folder: Path) -> Manifest:
    """The manifest of a fetched data set. Raises SourceError where it is missing."""
    if not (folder / MANIFEST).is_file():
        raise SourceError(f"{folder}: no data set here ({MANIFEST} is missing); run `dvc repro`")
    return Manifest.read(folder / MANIFEST)


def pictures(folder: Path, limit: int | None = None) -> Iterator[tuple[str, Rgb]]:
    """(file name, RGB (H, W, 3) uint8) of each picture, in the manifest's order, decoded as it is asked for."""
    from components.data.image_files import decode_rgb

    for file in manifest(folder).files[:limit]:
        yield file.name, decode_rgb((folder / file.name).read_bytes())


def content_hash(folder: Path) -> str:
    """A sha256 that names the set: every picture's name and bytes."""
    files = sorted((file.name, file.sha256) for file in manifest(folder).files)
    return hashlib.sha256(repr(files).encode()).hexdigest()
