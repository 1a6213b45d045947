"""A part of the tiny shards: what fits, from all pictures, with the validation patches as they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.data.image_files import decode_rgb
from components.data.loader import training_batches, validation_batches
from components.data.shard_reader import Shards
from components.data.shard_subset import write_subset
from components.errors import SourceError


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.tar"))


@pytest.mark.parametrize("quality", [90, None])
def test_everything_fits(tiny_shards: Path, tmp_path: Path, quality: int | None) -> None:
    whole, part = Shards(str(tiny_shards)), Shards(str(tmp_path))
    index = write_subset(whole, tmp_path, room=1 << 30, quality=quality, validation_patches=1000)
    before = whole.index().splits
    assert {name: split.per_source for name, split in index.splits.items()} == {
        name: split.per_source for name, split in before.items()
    }
    assert part.index() == index
    batches = [next(training_batches(part, batch_size=4, seed=1, start_step=0, workers=0)) for _ in range(2)]
    assert all(batch.patches.shape == (4, 3, 64, 64) and batch.skipped == 0 for batch in batches)


def test_validation_patches_keep_their_pixels(tiny_shards: Path, tmp_path: Path) -> None:
    whole = Shards(str(tiny_shards))
    index = write_subset(whole, tmp_path, room=1 << 30, quality=50, validation_patches=3)
    assert index.splits["val"].samples == 3
    (expected,) = validation_batches(whole, batch_size=3, limit=3)
    (found,) = validation_batches(Shards(str(tmp_path)), batch_size=3, limit=3)
    assert torch.equal(found, expected)


def test_pictures_take_turns_as_far_as_the_room_goes(tiny_shards: Path, tmp_path: Path) -> None:
    whole = Shards(str(tiny_shards))
    samples = []
    for room in (50_000, 62_000, 74_000):
        out = tmp_path / str(room)
        index = write_subset(whole, out, room=room, quality=90, validation_patches=2)
        assert room - 20_000 < size_of(out) <= room
        counts = index.splits["train"].per_source.values()
        assert max(counts) - min(counts) <= 1
        samples.append(index.splits["train"].samples)
    assert samples == sorted(set(samples))
    assert samples[-1] < whole.index().splits["train"].samples


def test_patches_lose_little(tiny_shards: Path, tmp_path: Path) -> None:
    whole, part = Shards(str(tiny_shards)), Shards(str(tmp_path))
    write_subset(whole, tmp_path, room=1 << 30, quality=90, validation_patches=1)
    first, best = _pictures(part)[0], np.inf
    for other in _pictures(whole):
        best = min(best, float(np.square(first.astype(float) - other).mean()))
    assert 0 < best < 25


def _pictures(shards: Shards) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    patches = shards.patches("train")
    with patches.reader() as reader:
        data = [reader.read(position) for position in range(len(patches))]
    return [decode_rgb(one) for one in data]


def test_too_little_room(tiny_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="too few for the validation patches and a patch of the train split"):
        write_subset(Shards(str(tiny_shards)), tmp_path, room=20_000, quality=90, validation_patches=2)
