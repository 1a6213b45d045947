import json
import shutil
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from components.errors import SourceError
from components.images.decode import decode_rgb
from components.images.loader import PatchDataset, SampleOrder, training_batches, validation_batches
from components.images.shards import read_index, read_patch

pytestmark = pytest.mark.usefixtures("one_thread")


def stream(shards: Path, steps: int, *, seed: int = 3, start: int = 0, workers: int = 0) -> Tensor:
    """(steps, 4, 3, 64, 64): the batches from step `start` on."""
    batches = training_batches(shards, batch_size=4, seed=seed, start_step=start, workers=workers)
    return torch.stack(list(islice(batches, steps)))


def patches_of(shards: Path, split: str) -> list[np.ndarray]:
    return [
        decode_rgb(read_patch(shards / shard["file"], *place))
        for shard in read_index(shards)["splits"][split]["shards"]
        for place in shard["samples"]
    ]


def symmetries(rgb: np.ndarray) -> list[bytes]:
    return [np.rot90(one, k).tobytes() for one in (rgb, rgb[:, ::-1]) for k in range(4)]


def test_batches_are_uint8_patches(tiny_shards: Path) -> None:
    found = stream(tiny_shards, 2)
    assert found.shape == (2, 4, 3, 64, 64)
    assert found.dtype == torch.uint8


@pytest.mark.parametrize("workers", [1, 2])
def test_the_stream_does_not_depend_on_the_workers(tiny_shards: Path, workers: int) -> None:
    assert torch.equal(stream(tiny_shards, 25, workers=workers), stream(tiny_shards, 25))


def test_the_stream_does_not_depend_on_torchs_generator(tiny_shards: Path) -> None:
    torch.manual_seed(1)
    first = stream(tiny_shards, 3)
    torch.manual_seed(2)
    assert torch.equal(stream(tiny_shards, 3), first)
    assert not torch.equal(stream(tiny_shards, 3, seed=4), first)


@pytest.mark.parametrize("start", [1, 6, 7, 13])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_later_start_goes_on_with_the_same_stream(tiny_shards: Path, start: int, workers: int) -> None:
    whole = stream(tiny_shards, start + 4)
    assert torch.equal(stream(tiny_shards, 4, start=start, workers=workers), whole[start:])


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 37])
def test_the_order_is_permutation_after_permutation(start: int) -> None:
    walk = list(islice(SampleOrder(10, 5), 60))
    assert list(islice(SampleOrder(10, 5, start), 60 - start)) == walk[start:]
    for epoch in range(6):
        part = walk[10 * epoch : 10 * epoch + 10]
        assert {e for e, _ in part} == {epoch}
        assert sorted(position for _, position in part) == list(range(10))
    assert len({tuple(p for _, p in walk[10 * e : 10 * e + 10]) for e in range(6)}) == 6


def test_an_epoch_shows_every_training_patch_once(tiny_shards: Path) -> None:
    train = patches_of(tiny_shards, "train")
    epoch = stream(tiny_shards, -(-len(train) // 4)).flatten(0, 1)[: len(train)]
    number = {turned: k for k, rgb in enumerate(train) for turned in symmetries(rgb)}
    seen = Counter(number[np.ascontiguousarray(one.permute(1, 2, 0).numpy()).tobytes()] for one in epoch)
    assert seen == Counter(range(len(train)))


def test_flips_are_all_eight_and_even(tiny_shards: Path) -> None:
    dataset = PatchDataset(tiny_shards, "train", seed=3, flips=True)
    shown = symmetries(patches_of(tiny_shards, "train")[0])
    assert len(set(shown)) == 8
    drawn = [dataset[epoch, 0].permute(1, 2, 0).contiguous().numpy().tobytes() for epoch in range(400)]
    counts = Counter(shown.index(one) for one in drawn)
    assert sorted(counts) == list(range(8))
    assert min(counts.values()) > 25
    assert drawn == [dataset[e, 0].permute(1, 2, 0).contiguous().numpy().tobytes() for e in range(400)]


def test_flips_depend_on_the_seed_and_the_sample(tiny_shards: Path) -> None:
    def turns(seed: int, position: int) -> list[int]:
        dataset = PatchDataset(tiny_shards, "train", seed=seed, flips=True)
        shown = symmetries(patches_of(tiny_shards, "train")[position])
        return [
            shown.index(dataset[epoch, position].permute(1, 2, 0).contiguous().numpy().tobytes()) for epoch in range(12)
        ]

    assert len({tuple(turns(seed, position)) for seed in (0, 1) for position in (0, 1)}) == 4


def test_validation_is_upright_and_spread(tiny_shards: Path) -> None:
    val = patches_of(tiny_shards, "val")
    batches = validation_batches(tiny_shards, batch_size=4, limit=len(val))
    shown = torch.cat(batches).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(shown, np.stack(val))
    assert [len(batch) for batch in batches[:-1]] == [4] * (len(batches) - 1)
    few = torch.cat(validation_batches(tiny_shards, batch_size=4, limit=3)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(few, np.stack([val[0], val[(len(val) - 1) // 2], val[-1]]))
    assert len(torch.cat(validation_batches(tiny_shards, batch_size=64, limit=10_000))) == len(val)


def test_a_damaged_shard_is_a_source_error(tiny_shards: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_shards, tmp_path / "shards")
    index = json.loads((tmp_path / "shards" / "index.json").read_text())
    first = index["splits"]["train"]["shards"][0]
    tar = tmp_path / "shards" / first["file"]
    data = bytearray(tar.read_bytes())
    at, size = first["samples"][0]
    data[at : at + size] = bytes(size)
    tar.write_bytes(data)
    dataset = PatchDataset(tmp_path / "shards", "train", seed=0, flips=False)
    with pytest.raises(SourceError, match=rf"{first['file']}: the patch at byte {at} cannot be decoded"):
        dataset[0, 0]
    assert dataset[0, 1].shape == (3, 64, 64)
