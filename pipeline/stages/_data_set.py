"""The pictures of a fetched data set."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from components.arrays import Rgb
from components.data.manifest import MANIFEST, Manifest
from components.errors import SourceError


def manifest(folder: Path) -> Manifest:
    """The manifest of a fetched data set. Raises SourceError if there is none."""
    if not (folder / MANIFEST).is_file():
        raise SourceError(f"{folder}: no data set here ({MANIFEST} is missing); run `dvc repro`")
    return Manifest.read(folder / MANIFEST)


def pictures(folder: Path, limit: int | None = None) -> Iterator[tuple[str, Rgb]]:
    """Decode the pictures of a fetched data set, one at a time.

    Args:
        folder: Where the data set lies.
        limit: Number of pictures, the first of the manifest; None for all.

    Yields:
        File name and RGB (H, W, 3) uint8 of each picture, in the manifest's order.
    """
    from components.data.image_files import decode_rgb

    for file in manifest(folder).files[:limit]:
        yield file.name, decode_rgb((folder / file.name).read_bytes())


def content_hash(folder: Path) -> str:
    """A sha256 over the names and contents of all pictures of a data set."""
    files = sorted((file.name, file.sha256) for file in manifest(folder).files)
    return hashlib.sha256(repr(files).encode()).hexdigest()
