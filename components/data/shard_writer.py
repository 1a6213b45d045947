"""WebDataset shards of training patches, cut in parallel and byte-identical on every run.

A sample is `<key>.png`, a lossless patch, and `<key>.json`: source, its sha256, scale, angle, crop. `index.json`
lists the shards of each split with the byte range of every patch, so that a loader reads any sample directly, and
counts patches by split and by source.
"""

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import webdataset

from ..distributed.parallel_map import ParallelMap
from ..errors import SourceError
from ..storage.atomic import replacing, write_json
from .image_files import decode_rgb, encode_png
from .patches import cut_patches
from .shard_index import LARGE, Recipe, Shard, ShardIndex, Split
from .shard_spec import Augmentation, ShardSpec

SPLITS = ("train", "val")
SAMPLES_PER_SHARD = 1024
"""Patches in one tar, in all but the last of a split."""


@dataclass(frozen=True)
class SourceImage:
    """A picture of the raw data set."""

    path: Path
    """Of its file."""
    sha256: str
    """Of the file's bytes."""


class _Part(NamedTuple):
    """A split: how its patches are cut, and from which pictures."""

    spec: ShardSpec
    images: list[SourceImage]


class _Sample(NamedTuple):
    """A patch as it is written: its key, its PNG file, its JSON file, and the file name of its picture."""

    key: str
    png: bytes
    facts: bytes
    source: str


def split_of(sha256: str, train_share: float, seed: int) -> str:
    """The split of a picture, "train" or "val", by a hash of its content: adding pictures moves none.

    Args:
        sha256: of the picture's file.
        train_share: share of the pictures that train, 0 to 1.
        seed: of the split.
    """
    digest = hashlib.sha256(f"{seed}:{sha256}".encode()).digest()
    return "train" if int.from_bytes(digest[:8]) < train_share * 2**64 else "val"


def write_shards(
    images: Sequence[SourceImage],
    spec: ShardSpec,
    out: Path,
    *,
    seed: int,
    parallel_map: ParallelMap,
    samples_per_shard: int = SAMPLES_PER_SHARD,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ShardIndex:
    """Write `{train,val}-%06d.tar` and `index.json`; with `spec.large`, `large-%06d.tar` too.

    Args:
        images: the pictures; of those with the same content, one is taken.
        spec: how they are cut and split.
        out: a folder, which is made where it does not exist.
        seed: of the split and of the patches.
        parallel_map: cuts many pictures at once; the built-in `map` one after the other.
        samples_per_shard: patches in one tar.
        progress: called with the number of pictures done and the number of all pictures; those that give large patches
            count twice.

    Returns:
        The index.

    Raises:
        SourceError: where a split would be empty: too few pictures, or none as large as a patch.
    """
    images = sorted({image.sha256: image for image in images}.values(), key=lambda image: image.sha256)
    parts = _parts(images, spec, seed)
    out.mkdir(parents=True, exist_ok=True)
    pictures = ((image, image.path.read_bytes(), part.spec) for part in parts.values() for image in part.images)
    total = sum(len(part.images) for part in parts.values())
    cuts = _reported(parallel_map(partial(_cut, seed=seed), pictures), total, progress)
    splits: dict[str, Split] = {}
    for split, part in parts.items():
        side = part.spec.patch
        per_shard = max(1, samples_per_shard * spec.patch**2 // side**2)  # tars of the same size
        splits[split] = _write_split(split, cuts, len(part.images), per_shard, out)
        if not splits[split].samples:
            raise SourceError(
                f"the {split} split is empty: {len(part.images)} of {len(images)} pictures fall into it and "
                f"none gives a {side}x{side} patch"
            )
    recipe = Recipe(
        augmentation=Augmentation.model_validate(spec.model_dump(include=set(Augmentation.model_fields))),
        patches_per_image=spec.patches_per_image,
        train_share=spec.train_share,
        seed=seed,
        samples_per_shard=samples_per_shard,
        large=spec.large,
    )
    index = ShardIndex(spec=recipe, splits=splits)
    write_json(out / "index.json", index.model_dump())
    return index


def _parts(images: Sequence[SourceImage], spec: ShardSpec, seed: int) -> dict[str, _Part]:
    """The splits to write; the pictures of `large` are those of `train`."""
    parts = {split: _Part(spec, []) for split in SPLITS}
    for image in images:
        parts[split_of(image.sha256, spec.train_share, seed)].images.append(image)
    if spec.large is not None:
        parts[LARGE] = _Part(spec.model_copy(update=spec.large.model_dump()), parts["train"].images)
    return parts


def _reported(
    cuts: Iterable[list[_Sample]], total: int, progress: Callable[[int, int], None]
) -> Iterator[list[_Sample]]:
    """The samples of each picture as they are; `progress` is called for each picture."""
    for done, cut in enumerate(cuts, start=1):
        progress(done, total)
        yield cut


def _cut(picture: tuple[SourceImage, bytes, ShardSpec], seed: int) -> list[_Sample]:
    """The samples of one picture, which comes with its file's content, so that another machine can cut it."""
    image, content, spec = picture
    samples = []
    patches = cut_patches(decode_rgb(content), spec, spec.patches_per_image, (seed, image.sha256))
    for number, patch in enumerate(patches):
        facts = {"source": image.path.name, "sha256": image.sha256, **patch.facts()}
        key = f"{image.sha256[:16]}-{number:03d}"
        samples.append(_Sample(key, encode_png(patch.rgb), json.dumps(facts).encode(), image.path.name))
    return samples


def _write_split(split: str, cuts: Iterator[list[_Sample]], images: int, samples_per_shard: int, out: Path) -> Split:
    """Write the tars of a split from the samples of its pictures, the next `images` of `cuts`; its index entry."""
    counts: Counter[str] = Counter()
    shards: list[Shard] = []
    samples = (sample for cut in islice(cuts, images) for sample in cut)
    while batch := list(islice(samples, samples_per_shard)):
        counts.update(sample.source for sample in batch)
        path = out / f"{split}-{len(shards):06d}.tar"
        with replacing(path) as temporary, temporary.open("wb") as file:
            _write_tar(file, batch)
        shards.append(Shard(file=path.name, samples=_byte_ranges(path)))
    return Split(images=images, samples=counts.total(), per_source=dict(sorted(counts.items())), shards=shards)


def _write_tar(file: IO[bytes], samples: list[_Sample]) -> None:
    with webdataset.TarWriter(file, mtime=0, user="ratewright", group="ratewright", mode=0o644) as tar:
        for sample in samples:
            tar.write({"__key__": sample.key, "png": sample.png, "json": sample.facts})


def _byte_ranges(path: Path) -> list[tuple[int, int]]:
    """Offset and size of every patch's bytes in a tar, in its order."""
    with tarfile.open(path) as tar:
        return [(member.offset_data, member.size) for member in tar if member.name.endswith(".png")]
