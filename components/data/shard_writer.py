"""WebDataset shards of training patches: written in parallel, byte-identical on every run.

A sample is `<key>.png`, a lossless 256x256 patch, and `<key>.json`: source, its sha256, scale, angle, offset.
`index.json` lists each split's shards with the byte range of every patch, so a loader reads any sample
directly, and counts patches per split and per source.
"""

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import webdataset

from components.data.image_files import decode_rgb, encode_png
from components.data.patches import Augmentation, patches
from components.distributed.parallel_map import ParallelMap
from components.errors import SourceError
from components.storage.atomic import replacing, write_json

SPLITS = ("train", "val")


@dataclass(frozen=True)
class SourceImage:
    """A picture of the raw data set: its file, and the sha256 of that file's bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class ShardSpec:
    """How pictures become shards.

    augmentation: how patches are cut.
    patches_per_image: patches of each picture, in either split.
    train_share: share of the pictures whose patches train, the rest validates (8:2 is 0.8).
    seed: of the split and of the patches.
    samples_per_shard: patches in one tar.
    """

    augmentation: Augmentation
    patches_per_image: int
    train_share: float
    seed: int
    samples_per_shard: int = 1024


def split_of(sha256: str, train_share: float, seed: int) -> str:
    """ "train" or "val" for a picture, from its content alone: adding pictures moves none."""
    digest = hashlib.sha256(f"{seed}:{sha256}".encode()).digest()
    return "train" if int.from_bytes(digest[:8]) < train_share * 2**64 else "val"


def write_shards(
    images: Sequence[SourceImage],
    spec: ShardSpec,
    out: Path,
    *,
    parallel_map: ParallelMap,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write `{train,val}-%06d.tar` and `index.json` into `out`; return the index.

    Raises SourceError where a split would be empty: too few pictures, or none as large as a patch.
    """
    images = sorted({image.sha256: image for image in images}.values(), key=lambda image: image.sha256)
    members = {
        split: [i for i in images if split_of(i.sha256, spec.train_share, spec.seed) == split] for split in SPLITS
    }
    index: dict[str, Any] = {"spec": asdict(spec), "splits": {}}
    out.mkdir(parents=True, exist_ok=True)
    pictures = ((image, image.path.read_bytes()) for split in SPLITS for image in members[split])
    cuts = parallel_map(partial(_cut, spec=spec), pictures)
    done = 0
    for split in SPLITS:
        counts: Counter[str] = Counter()

        def samples(split: str = split, counts: Counter[str] = counts) -> Iterator[tuple[str, bytes, bytes]]:
            nonlocal done
            for cut in islice(cuts, len(members[split])):
                done += 1
                if progress is not None:
                    progress(done, len(images))
                counts.update(source for _, _, _, source in cut)
                yield from (sample[:3] for sample in cut)

        shards = _write_split(split, samples(), spec.samples_per_shard, out)
        if not shards:
            raise SourceError(
                f"the {split} split is empty: {len(members[split])} of {len(images)} pictures fall into it and "
                f"none gives a {spec.augmentation.patch}x{spec.augmentation.patch} patch"
            )
        index["splits"][split] = {
            "images": len(members[split]),
            "samples": sum(counts.values()),
            "per_source": dict(sorted(counts.items())),
            "shards": shards,
        }
    write_json(out / "index.json", index)
    return index


def _cut(picture: tuple[SourceImage, bytes], spec: ShardSpec) -> list[tuple[str, bytes, bytes, str]]:
    """(key, PNG bytes, JSON bytes, source) of each patch of one picture, given with its file's content."""
    image, content = picture
    rgb = decode_rgb(content)
    cut = []
    for number, patch in enumerate(patches(rgb, spec.augmentation, spec.patches_per_image, (spec.seed, image.sha256))):
        facts = {"source": image.path.name, "sha256": image.sha256, **patch.facts()}
        key = f"{image.sha256[:16]}-{number:03d}"
        cut.append((key, encode_png(patch.rgb), json.dumps(facts).encode(), image.path.name))
    return cut


def _write_split(
    split: str, samples: Iterator[tuple[str, bytes, bytes]], per_shard: int, out: Path
) -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = []
    while batch := list(islice(samples, per_shard)):
        path = out / f"{split}-{len(shards):06d}.tar"
        with replacing(path) as temporary, temporary.open("wb") as file:
            _write_tar(file, batch)
        shards.append({"file": path.name, "samples": _ranges(path)})
    return shards


def _write_tar(file: IO[bytes], batch: list[tuple[str, bytes, bytes]]) -> None:
    with webdataset.TarWriter(file, mtime=0, user="ratewright", group="ratewright", mode=0o644) as tar:
        for key, png, facts in batch:
            tar.write({"__key__": key, "png": png, "json": facts})


def _ranges(path: Path) -> list[list[int]]:
    """[offset, size] of every patch's bytes in a tar, in its order."""
    with tarfile.open(path) as tar:
        return [[member.offset_data, member.size] for member in tar if member.name.endswith(".png")]
