"""The pictures of a fetched data set."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import overload

from components.arrays import Rgb
from components.data.manifest import MANIFEST, Manifest
from components.errors import SourceError
from components.storage.atomic import sha256_of
from pipeline.config.params import FineTuned, Params
from pipeline.paths import Layout
from pipeline.registry.runs import DataInput, Role

KEPT_BYTES = 256 << 20
"""Bytes of a set's decoded pictures that stay in memory: all of Kodak (28 MB), all 14 of CLIC 2025 (124 MB)."""


def manifest(folder: Path) -> Manifest:
    """The manifest of a fetched data set. Raises SourceError if there is none."""
    if not (folder / MANIFEST).is_file():
        raise SourceError(f"{folder}: no data set here ({MANIFEST} is missing); run `dvc repro`")
    return Manifest.read(folder / MANIFEST)


class Pictures(Sequence[tuple[str, Rgb]]):
    """The pictures of a fetched data set, in the manifest's order: file name and RGB (H, W, 3) uint8 of each.

    A picture is decoded when it is asked for. The first ones are kept, as far as KEPT_BYTES hold them, so that a set of
    any size takes a bounded part of the memory.
    """

    def __init__(self, folder: Path, limit: int | None = None):
        """Read the manifest; no picture is decoded yet.

        Args:
            folder: Where the data set lies.
            limit: Number of pictures, the first of the manifest; None for all.
        """
        self._folder, self._files = folder, manifest(folder).files[:limit]
        self._kept: dict[int, Rgb] = {}
        self._room, self._keeping = KEPT_BYTES, Lock()

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> tuple[str, Rgb]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, Rgb]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, Rgb] | list[tuple[str, Rgb]]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._files[index].name, self.rgb(index)

    def rgb(self, index: int) -> Rgb:
        """The RGB of one picture."""
        from components.data.image_files import decode_rgb

        index = range(len(self))[index]
        if index in self._kept:
            return self._kept[index]
        rgb = decode_rgb((self._folder / self._files[index].name).read_bytes())
        with self._keeping:  # classic codecs encode in threads
            if rgb.nbytes <= self._room:
                self._kept[index] = rgb
                self._room -= rgb.nbytes
        return rgb

    def largest(self) -> Rgb:
        """The picture with the most pixels; the manifest tells which."""
        return self.rgb(max(range(len(self)), key=lambda index: self._files[index].width * self._files[index].height))

    @property
    def names(self) -> list[str]:
        """The file names."""
        return [file.name for file in self._files]

    @property
    def rgbs(self) -> Sequence[Rgb]:
        """The pictures without their names, decoded as these are."""
        return _Rgbs(self)


class _Rgbs(Sequence[Rgb]):
    """The second half of each pair."""

    def __init__(self, pictures: Pictures):
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> Rgb: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rgb]: ...
    def __getitem__(self, index: int | slice) -> Rgb | list[Rgb]:
        if isinstance(index, slice):
            return [rgb for _, rgb in self._pictures[index]]
        return self._pictures.rgb(index)


def data_input(root: Path, settings: Params, name: str, role: Role) -> DataInput:
    """A set of pictures as an input of an MLflow run.

    Args:
        root: The checkout.
        settings: Its params, which have the set.
        name: Of the set.
        role: What the run reads it for.
    """
    return DataInput(name, content_hash(Layout(root).raw(name)), source_of(settings, name), role)


def training_input(settings: Params, name: str, shards: Path) -> DataInput:
    """The shards that a variant is trained on as an input of an MLflow run.

    Args:
        settings: The params.
        name: Of the variant.
        shards: The folder of the shards.
    """
    variant = settings.variant(name)
    data = variant.data if isinstance(variant, FineTuned) else settings.data.train
    return DataInput(data, sha256_of(shards / "index.json"), source_of(settings, data), "training")


def source_of(settings: Params, name: str) -> str:
    """Where a data set comes from, in a word: its source, or the manifests that have the addresses."""
    definition = settings.datasets[name]
    manifests = definition.manifest or ()
    named = manifests if isinstance(manifests, str) else ", ".join(manifests)
    return definition.source or named or f"{settings.mirror}/{name}"


def content_hash(folder: Path) -> str:
    """A sha256 over the names and contents of all pictures of a data set."""
    files = sorted((file.name, file.sha256) for file in manifest(folder).files)
    return hashlib.sha256(repr(files).encode()).hexdigest()
