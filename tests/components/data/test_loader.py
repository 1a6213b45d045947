from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from components.data.image_files import encode_png
from components.data.loader import augmented, sample_order, training_batches, validation_batches
from components.data.shard_reader import Shards
from components.errors import RatewrightError, SourceError
from tests.components.data.streams import (
    BATCH,
    SEED,
    batches,
    digest,
    expected,
    on_site,
    overwrite,
    patches_of,
    place_of,
    run,
    stream,
    symmetries,
)
from tests.site import Site

pytestmark = pytest.mark.usefixtures("one_thread")


def test_batches_are_uint8_patches(shards: Shards) -> None:
    batch = next(batches(shards))
    assert batch.patches.shape == (4, 3, 64, 64)
    assert batch.patches.dtype == torch.uint8
    assert batch.skipped == 0


def test_the_stream_follows_its_definition(location: Shards) -> None:
    good = patches_of(location, "train")
    assert torch.equal(stream(location, 20), expected(good, 20))


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_stream_does_not_depend_on_workers_or_ranks(shards: Shards, workers: int, ranks: int) -> None:
    assert digest(stream(shards, 13, workers=workers, ranks=ranks)) == digest(stream(shards, 13))


@pytest.mark.parametrize(("workers", "ranks"), [(2, 1), (1, 2)])
def test_the_stream_does_not_depend_on_where_shards_lie(
    location: Shards, shards: Shards, workers: int, ranks: int
) -> None:
    assert digest(stream(location, 13, workers=workers, ranks=ranks)) == digest(stream(shards, 13))


def test_ranks_that_cannot_share_a_batch_are_an_error(shards: Shards) -> None:
    with pytest.raises(RatewrightError, match=r"^batch_size 4 is not a multiple of the 3 processes that share it$"):
        batches(shards, ranks=3)


def test_the_stream_does_not_depend_on_torchs_generator(shards: Shards) -> None:
    torch.manual_seed(1)
    first = stream(shards, 3)
    torch.manual_seed(2)
    assert torch.equal(stream(shards, 3), first)
    [other] = islice(training_batches(shards, batch_size=BATCH, seed=SEED + 1, start_step=0, workers=0), 1)
    assert not torch.equal(other.patches, first[0])


def test_a_later_start_goes_on_with_the_same_stream_in_any_way(shards: Shards) -> None:
    whole = stream(shards, 16)
    for start in range(1, 14):
        assert torch.equal(stream(shards, 3, start=start), whole[start : start + 3])
    for start, workers, ranks in ((1, 2, 1), (6, 1, 2), (7, 1, 4), (13, 2, 2)):
        assert torch.equal(stream(shards, 3, start=start, workers=workers, ranks=ranks), whole[start : start + 3])


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 37])
def test_the_order_is_permutation_after_permutation(start: int) -> None:
    walk = list(islice(sample_order(10, 5), 60))
    assert list(islice(sample_order(10, 5, start), 60 - start)) == walk[start:]
    for epoch in range(6):
        part = walk[10 * epoch : 10 * epoch + 10]
        assert {e for e, _ in part} == {epoch}
        assert sorted(position for _, position in part) == list(range(10))
    assert len({tuple(p for _, p in walk[10 * e : 10 * e + 10]) for e in range(6)}) == 6


def test_an_epoch_shows_every_training_patch_once(shards: Shards) -> None:
    train = patches_of(shards, "train")
    epoch = stream(shards, -(-len(train) // BATCH)).flatten(0, 1)[: len(train)]
    number = {one: k for k, rgb in enumerate(train) for one in symmetries(rgb)}
    seen = Counter(number[np.ascontiguousarray(one.permute(1, 2, 0).numpy()).tobytes()] for one in epoch)
    assert seen == Counter(range(len(train)))


def test_flips_are_all_eight_and_even(shards: Shards) -> None:
    rgb = patches_of(shards, "train")[0]
    shown = symmetries(rgb)
    assert len(set(shown)) == 8
    counts = Counter(shown.index(augmented(rgb, 3, epoch, 0).tobytes()) for epoch in range(400))
    assert sorted(counts) == list(range(8))
    assert min(counts.values()) > 25


def test_flips_depend_on_the_seed_and_the_sample(shards: Shards) -> None:
    rgb = patches_of(shards, "train")[0]
    shown = symmetries(rgb)
    turns = {
        tuple(shown.index(augmented(rgb, seed, epoch, position).tobytes()) for epoch in range(12))
        for seed in (0, 1)
        for position in (0, 1)
    }
    assert len(turns) == 4


def test_validation_is_upright_and_spread(location: Shards) -> None:
    val = patches_of(location, "val")
    found = validation_batches(location, batch_size=4, limit=len(val))
    shown = torch.cat(found).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(shown, np.stack(val))
    assert [len(batch) for batch in found[:-1]] == [4] * (len(found) - 1)
    few = torch.cat(validation_batches(location, batch_size=4, limit=3)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(few, np.stack([val[0], val[(len(val) - 1) // 2], val[-1]]))
    assert len(torch.cat(validation_batches(location, batch_size=64, limit=10_000))) == len(val)


def test_damaged_patches_are_skipped_and_counted_alike(own: Path, site: Site, shards: Shards) -> None:
    damage = {0: None, 1: bytes(200), 7: encode_png(np.zeros((32, 64, 3), np.uint8)), 11: None}
    for position, new in damage.items():
        overwrite(own, "train", position, new)
    good = patches_of(shards, "train")
    last = len(good) - 1
    path, offset, _ = place_of(own, "train", last)
    with path.open("r+b") as file:
        file.truncate(offset + 50)
    instead = {0: 2, 1: 2, 7: 8, 11: 12, last: 2}
    local, remote = Shards(str(own)), on_site(site, own)
    steps = 2 * len(good) // BATCH
    patches, skipped = run(local, steps)
    assert torch.equal(patches, expected(good, steps, lambda position: instead.get(position, position)))
    walk = [position for _, position in islice(sample_order(len(good), SEED), steps * BATCH)]
    assert skipped == [sum(p in instead for p in walk[at : at + BATCH]) for at in range(0, len(walk), BATCH)]
    for where, workers, ranks in ((local, 2, 1), (local, 1, 2), (local, 0, 4), (remote, 0, 1), (remote, 2, 2)):
        others, counted = run(where, steps, workers=workers, ranks=ranks)
        assert torch.equal(others, patches)
        assert counted == skipped


def test_every_flipped_bit_is_noticed(own: Path, shards: Shards) -> None:
    path, offset, size = place_of(own, "train", 0)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    good = patches_of(shards, "train")
    for _ in range(60):
        data = bytearray(whole)
        # Up to the check sum of the end marker, which no pixel comes from.
        data[offset + int(random.integers(size - 4))] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        batch = next(training_batches(Shards(str(own)), batch_size=len(good), seed=SEED, start_step=0, workers=0))
        assert batch.skipped == 1


def test_damaged_validation_patches_are_skipped(own: Path, shards: Shards) -> None:
    overwrite(own, "val", 0)
    val = patches_of(shards, "val")
    shown = torch.cat(validation_batches(Shards(str(own)), batch_size=4, limit=len(val)))
    assert np.array_equal(shown.permute(0, 2, 3, 1).numpy(), np.stack([val[1], *val[1:]]))


@pytest.mark.parametrize("workers", [0, 1])
def test_no_good_patch_at_all_is_a_source_error(own: Path, workers: int) -> None:
    for path in own.glob("train-*.tar"):
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(SourceError, match=r"own: no patch of the train split can be decoded$") as caught:
        next(batches(Shards(str(own)), workers=workers))
    assert "\n" not in str(caught.value)
