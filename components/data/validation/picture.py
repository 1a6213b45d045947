"""A picture as validation sees it, and the cache that holds it under the hash of its file."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...storage.atomic import write_bytes
from ..image_files import decode_rgb
from ..manifest import FetchedFile
from .alignment import Grey
from .features import Features, measure, reduce
from .local_features import LocalFeatures
from .perceptual_hash import thumbnail

SIDE = 512
"""Longer side in pixels of the grey picture that is compared, at the most."""

_FORMAT = 1  # of a file in the cache; another one whenever what is measured changes
_BROKEN = (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class Picture:
    """A picture of a fetched data set, measured."""

    path: Path
    """Of its file."""
    sha256: str
    """Of its file."""
    pixels_sha256: str
    """Of its size and RGB."""
    features: Features
    """Its figures."""
    thumbnail: Grey
    """(64, 64)."""
    local: LocalFeatures
    """Its SIFT features."""

    @property
    def name(self) -> str:
        """The file name, which is unique in the set."""
        return self.path.name

    @property
    def grey_width(self) -> int:
        """Width of `grey`, in pixels, without decoding it."""
        longer = max(self.features.width, self.features.height)
        return self.features.width if longer <= SIDE else max(1, round(self.features.width * (SIDE / longer)))

    @cached_property
    def grey(self) -> Grey:
        """The grey picture that `local` was found in; it is decoded when it is first asked for."""
        return reduced_grey(decode_rgb(self.path.read_bytes()))


def reduced_grey(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> Grey:
    """The luma of a picture (H, W, 3), at most `SIDE` pixels long."""
    return reduce(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), SIDE)


def measure_all(
    folder: Path,
    files: Sequence[FetchedFile],
    cache: Path,
    *,
    threads: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Picture]:
    """Measure the pictures of a fetched data set, or take them from the cache.

    Args:
        folder: of the data set.
        files: those of its manifest.
        cache: a folder, which may be removed at any time; what cannot be read there is measured anew.
        threads: pictures under way at a time.
        progress: called with the number of pictures done and that of all.

    Raises:
        ImageError: a file cannot be decoded any more.
    """
    pictures = []
    with ThreadPoolExecutor(threads) as pool:
        for picture in pool.map(lambda file: _measured(folder / file.name, file.sha256, cache), files):
            pictures.append(picture)
            progress(len(pictures), len(files))
    return pictures


def _measured(path: Path, sha256: str, cache: Path) -> Picture:
    kept = cache / sha256[:2] / f"{sha256}.npz"
    try:
        return _load(kept, path, sha256)
    except _BROKEN:
        pass  # no such file, a damaged one, or one of an earlier version
    data = path.read_bytes()
    rgb = decode_rgb(data)
    grey = reduced_grey(rgb)
    picture = Picture(
        path=path,
        sha256=sha256,
        pixels_sha256=hashlib.sha256(f"{rgb.shape}".encode() + rgb.tobytes()).hexdigest(),
        features=measure(rgb, data),
        thumbnail=thumbnail(grey),
        local=LocalFeatures.of(grey),
    )
    _save(picture, kept)
    return picture


def _save(picture: Picture, kept: Path) -> None:
    facts = {
        "format": _FORMAT,
        "sha256": picture.sha256,
        "pixels_sha256": picture.pixels_sha256,
        "features": picture.features.model_dump(),
    }
    content = io.BytesIO()
    np.savez(
        content,
        facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
        thumbnail=picture.thumbnail,
        points=picture.local.points,
        descriptors=picture.local.descriptors,
    )
    write_bytes(kept, content.getvalue())


def _load(kept: Path, path: Path, sha256: str) -> Picture:
    """A picture from the cache. Raises one of `_BROKEN` where the file is not whole, or not the picture's."""
    with np.load(io.BytesIO(kept.read_bytes()), allow_pickle=False) as arrays:
        facts = json.loads(arrays["facts"].tobytes())
        if facts["format"] != _FORMAT or facts["sha256"] != sha256:
            raise ValueError("another format or picture")
        local = LocalFeatures(arrays["points"], arrays["descriptors"])
        features = Features.model_validate(facts["features"])
        return Picture(path, sha256, facts["pixels_sha256"], features, arrays["thumbnail"], local)
