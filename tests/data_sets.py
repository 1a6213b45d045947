"""Data sets as the stage `fetch` leaves them."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from components.arrays import Rgb
from components.data.image_files import encode_png
from components.data.manifest import MANIFEST, FetchedFile, Manifest


def write_data_set(folder: Path, pictures: Sequence[Rgb]) -> None:
    """Write the pictures as 0.png, 1.png and so on, with their manifest, in place of what the folder held."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = []
    for number, rgb in enumerate(pictures):
        name, content = f"{number}.png", encode_png(rgb)
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        height, width = rgb.shape[:2]
        files.append(
            FetchedFile(name=name, source_name=name, sha256=digest, source_sha256=digest, width=width, height=height)
        )
    Manifest(name=folder.name, source=None, files=tuple(files)).write(folder / MANIFEST)
