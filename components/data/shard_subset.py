"""A part of a set of shards as a smaller set: patches of as many pictures as fit into a size, recompressed."""

import io
import json
import math
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import SourceError
from ..storage.atomic import replacing, write_json
from .image_files import decode_rgb
from .loader import validation_positions
from .shard_index import LARGE, Shard, ShardIndex, Split
from .shard_reader import Patches, Shards

_BLOCK = 512
_END = 10240  # bytes of zeros that a tar may end with


class _Names(NamedTuple):
    """The key of a patch, and the file name of its picture."""

    key: str
    source: str


def write_subset(
    shards: Shards, out: Path, *, room: int, quality: int | None, validation_patches: int, large_share: float = 0.0
) -> ShardIndex:
    """Write shards with all patches that validations take, and with as many training patches as fit.

    Validation patches keep their pixels (lossless WebP), so that validations compare with those on the whole set.
    Training patches are the first of each picture, then the second of each, and so on: patches of one picture overlap.
    Facts of the patches stay behind, and their keys tell which ones they are.

    Args:
        shards: the whole set, in a folder.
        out: the new folder.
        room: bytes of the new tars together.
        quality: of the JPEG files (4:4:4) that training patches become, 1 to 100; None keeps their pixels.
        validation_patches: as `TrainingConfig` has it.
        large_share: share of what training patches take that goes to the split `large`.

    Returns:
        The index of the new shards.

    Raises:
        SourceError: shards that are missing, or too little room for the validation patches and a training patch.
    """
    whole = shards.index()
    out.mkdir(parents=True, exist_ok=True)
    positions = validation_positions(len(shards.patches("val")), validation_patches)
    splits = {"val": _write_split(shards.patches("val"), positions, out, math.inf, None)}
    left = room - (out / splits["val"].shards[0].file).stat().st_size
    shares = {"train": 1 - large_share, LARGE: large_share}
    for split in (split for split, share in shares.items() if share):
        patches = shards.patches(split)
        splits[split] = _write_split(patches, None, out, left * shares[split], quality)
        if not splits[split].samples:
            raise SourceError(f"{room} bytes are too few for the validation patches and a patch of the {split} split")
    index = ShardIndex(spec=whole.spec, splits={split: splits[split] for split in whole.splits if split in splits})
    write_json(out / "index.json", index.model_dump())
    return index


def _write_split(
    patches: Patches, positions: Iterable[int] | None, out: Path, room: float, quality: int | None
) -> Split:
    """Write patches to one tar until the next one would not fit; returns the split's entry of the index.

    positions: of the patches; None takes all pictures by turns.
    """
    path, names = out / f"{patches.split}-000000.tar", _names(patches)
    samples: list[tuple[int, int]] = []
    counts: Counter[str] = Counter()
    with replacing(path) as temporary, tarfile.open(temporary, "w") as tar, patches.reader() as reader:
        for position in _by_turns(names) if positions is None else positions:
            data = _encoded(reader.read(position), quality)
            start = tar.offset + _BLOCK
            if start + len(data) + _BLOCK + _END > room:
                break
            key, source = names[position]
            member = tarfile.TarInfo(f"{key}.{'webp' if quality is None else 'jpg'}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            samples.append((start, len(data)))
            counts[source] += 1
    shards = [Shard(file=path.name, samples=samples)]
    return Split(images=len(counts), samples=len(samples), per_source=dict(sorted(counts.items())), shards=shards)


def _names(patches: Patches) -> list[_Names]:
    """The names of each patch of a split, by position."""
    names = []
    for file in dict.fromkeys(place.file for place in patches.places):
        with tarfile.open(Path(patches.shards.location) / file) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    facts = tar.extractfile(member)
                    assert facts is not None, "the facts of a patch are a plain file"
                    names.append(_Names(member.name.removesuffix(".json"), json.load(facts)["source"]))
    return names


def _by_turns(names: Sequence[_Names]) -> list[int]:
    """All positions of a split: the first patch of each picture, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    turns = []
    for position, (_, source) in enumerate(names):
        turns.append((seen[source], position))
        seen[source] += 1
    return [position for _, position in sorted(turns)]


def _encoded(png: bytes, quality: int | None) -> bytes:
    """A patch as JPEG, or as lossless WebP."""
    import cv2

    bgr = cv2.cvtColor(decode_rgb(png), cv2.COLOR_RGB2BGR)
    if quality is None:
        _, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 101])  # above 100: lossless
    else:
        sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        quality_of = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        _, data = cv2.imencode(".jpg", bgr, [*quality_of, *sampling])
    return bytes(data)
