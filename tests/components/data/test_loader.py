import hashlib
import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.data import shard_reader
from components.data.image_files import decode_rgb, encode_png
from components.data.loader import Batch, augmented, sample_order, training_batches, validation_batches
from components.data.shard_reader import Shards
from components.errors import RatewrightError, SourceError
from components.storage import remote as remote_sources
from tests.site import Site

pytestmark = pytest.mark.usefixtures("one_thread")

Where = Callable[[Path], Shards]
BATCH, SEED = 4, 3


@pytest.fixture
def shards(tiny_shards: Path) -> Shards:
    return Shards(str(tiny_shards))


@pytest.fixture
def own(tiny_shards: Path, tmp_path: Path) -> Path:
    """A copy of the shards to damage."""
    return shutil.copytree(tiny_shards, tmp_path / "own")


@pytest.fixture(params=["folder", "http", "s3"])
def location(request: pytest.FixtureRequest, tiny_shards: Path) -> Shards:
    """The same shards in a folder, on a web server, in a bucket."""
    match request.param:
        case "http":
            return on_site(request.getfixturevalue("site"), tiny_shards)
        case "s3":
            client = request.getfixturevalue("s3")
            for path in tiny_shards.iterdir():
                client.put_object(Bucket="bucket", Key=f"some/{path.name}", Body=path.read_bytes())
            return Shards("s3://bucket/some")
    return Shards(str(tiny_shards))


def on_site(site: Site, folder: Path) -> Shards:
    site.files |= {f"set/{path.name}": path.read_bytes() for path in folder.iterdir()}
    return Shards(site.address + "set")


def batches(shards: Shards, *, start: int = 0, workers: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
    return training_batches(
        shards, batch_size=BATCH, seed=SEED, start_step=start, workers=workers, rank=rank, ranks=ranks
    )


def run(shards: Shards, steps: int, *, start: int = 0, workers: int = 0, ranks: int = 1) -> tuple[Tensor, list[int]]:
    """(steps, B, 3, 64, 64): the stream of all ranks together, from step `start` on; and what each step skipped."""
    shares = [
        list(islice(batches(shards, start=start, workers=workers, rank=rank, ranks=ranks), steps))
        for rank in range(ranks)
    ]
    parts = [torch.stack([batch.patches for batch in share]) for share in shares]
    skipped = [sum(one.skipped for one in step) for step in zip(*shares, strict=True)]
    return torch.stack(parts, dim=2).flatten(1, 2), skipped


def stream(shards: Shards, steps: int, **way: int) -> Tensor:
    return run(shards, steps, **way)[0]


def digest(patches: Tensor) -> str:
    return hashlib.sha256(patches.contiguous().numpy().tobytes()).hexdigest()


def patches_of(shards: Shards, split: str) -> list[np.ndarray]:
    patches = shards.patches(split)
    with patches.reader() as reader:
        return [decode_rgb(reader.read(position)) for position in range(len(patches))]


def expected(good: list[np.ndarray], steps: int, stands_in: Callable[[int], int] = lambda position: position) -> Tensor:
    """What the stream is, by its definition: Philox permutations, PCG64 flips."""
    shown: list[np.ndarray] = []
    for epoch in range(-(-steps * BATCH // len(good))):
        for position in np.random.Generator(np.random.Philox(key=[SEED, epoch])).permutation(len(good)):
            rgb = good[stands_in(int(position))]
            turns = int(np.random.default_rng([SEED, epoch, int(position)]).integers(8))
            shown.append(np.rot90(np.fliplr(rgb) if turns >= 4 else rgb, turns % 4))
    every = np.stack(shown[: steps * BATCH]).transpose(0, 3, 1, 2)
    return torch.from_numpy(every.reshape(steps, BATCH, *every.shape[1:]))


def symmetries(rgb: np.ndarray) -> list[bytes]:
    return [np.rot90(one, k).tobytes() for one in (rgb, rgb[:, ::-1]) for k in range(4)]


def place_of(folder: Path, split: str, position: int) -> tuple[Path, int, int]:
    index = json.loads((folder / "index.json").read_text())
    places = [(s["file"], *place) for s in index["splits"][split]["shards"] for place in s["samples"]]
    file, offset, size = places[position]
    return folder / file, offset, size


def overwrite(folder: Path, split: str, position: int, new: bytes | None = None) -> None:
    """Put `new`, or a flipped bit in the middle, into a patch's bytes."""
    path, offset, size = place_of(folder, split, position)
    data = bytearray(path.read_bytes())
    if new is None:
        data[offset + size // 2] ^= 1
    else:
        data[offset : offset + len(new)] = new
    path.write_bytes(data)


def test_batches_are_uint8_patches(shards: Shards) -> None:
    batch = next(batches(shards))
    assert batch.patches.shape == (4, 3, 64, 64)
    assert batch.patches.dtype == torch.uint8
    assert batch.skipped == 0


def test_the_stream_is_what_it_says(location: Shards) -> None:
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


def test_ranks_that_cannot_share_a_batch_say_so(shards: Shards) -> None:
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


@pytest.mark.parametrize("workers", [0, 2])
def test_connections_that_drop_change_nothing(
    site: Site, tiny_shards: Path, shards: Shards, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_sources, "ATTEMPTS", 30)  # since one request may meet the faults of many
    remote = on_site(site, tiny_shards)
    site.faults = {path: ["short", "hang up", 503, "short", "short"] for path in site.files}
    assert digest(stream(remote, 10, workers=workers)) == digest(stream(shards, 10))
    assert not any(faults for path, faults in site.faults.items() if "/val-" not in path), "all of them were met"


def test_a_server_that_stays_away_is_told_in_one_line(site: Site, tiny_shards: Path) -> None:
    remote = on_site(site, tiny_shards)
    for workers in (0, 1):
        stuck = batches(remote, workers=workers)
        for path in site.files:
            site.faults[path] = [503] * 10_000
        with pytest.raises(
            SourceError, match=rf"^{remote.location}/train-.*503.*\(tried {remote_sources.ATTEMPTS} times\)$"
        ):
            next(stuck)
        site.faults.clear()


def test_reading_ahead_is_bounded(site: Site, tiny_shards: Path) -> None:
    stream(on_site(site, tiny_shards), 2)
    assert len(site.requests) <= 1 + (2 + shard_reader.BATCHES_AHEAD) * BATCH


class TestCache:
    """A cache that holds a part of the patches."""

    @pytest.fixture
    def cached(self, site: Site, tiny_shards: Path, tmp_path: Path) -> Shards:
        return replace(on_site(site, tiny_shards), cache=str(tmp_path / "cache"), cache_bytes=self.bound(tiny_shards))

    @staticmethod
    def bound(folder: Path) -> int:
        """Room for ten patches and a half."""
        sizes = [place_of(folder, "train", position)[2] for position in range(11)]
        return sum(sizes) - sizes[-1] // 2

    @staticmethod
    def files(shards: Shards) -> list[Path]:
        assert shards.cache is not None
        return [path for path in Path(shards.cache).rglob("*") if path.is_file()]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_it_stays_within_its_bound_and_spares_requests(
        self, site: Site, cached: Shards, shards: Shards, workers: int
    ) -> None:
        count = len(shards.patches("train"))
        steps = -(-count // BATCH) + shard_reader.BATCHES_AHEAD + 1
        assert digest(stream(cached, steps, workers=workers)) == digest(stream(shards, steps))
        kept = self.files(cached)
        assert len(kept) == 10
        assert sum(path.stat().st_size for path in kept) <= cached.cache_bytes
        patches = cached.patches("train")
        site.requests.clear()
        with patches.reader() as reader:
            found = [reader.read(position) for position in range(count)]
        assert len(site.requests) == count - 10, "the second epoch reads what does not fit, and nothing else"
        with shards.patches("train").reader() as reader:
            assert found == [reader.read(position) for position in range(count)]
        assert self.files(cached) == kept

    def test_a_copy_of_the_wrong_size_is_made_anew(self, cached: Shards, shards: Shards) -> None:
        stream(cached, 12)
        kept = self.files(cached)
        kept[0].write_bytes(kept[0].read_bytes()[:-1])
        kept[1].write_bytes(b"")
        assert digest(stream(cached, 12)) == digest(stream(shards, 12))
        assert all(decode_rgb(path.read_bytes()).shape == (64, 64, 3) for path in kept)

    def test_other_shards_do_not_mix_and_stay(self, site: Site, cached: Shards, shards: Shards) -> None:
        stream(cached, 12)
        kept = self.files(cached)
        site.files["set/index.json"] += b" "
        assert cached.index() == shards.index()
        changed = json.loads(site.files["set/index.json"])
        changed["spec"]["seed"] += 1
        site.files["set/index.json"] = json.dumps(changed).encode()
        site.requests.clear()
        patches = cached.patches("train")
        with patches.reader() as reader:
            reader.read(0)
        assert len(site.requests) == 2
        assert set(kept) < set(self.files(cached))

    def test_what_killed_processes_left_is_removed(self, cached: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
        stream(cached, 12)
        kept = self.files(cached)
        left = kept[0].with_name(f".{kept[0].name}.abc")
        left.write_bytes(b"half")
        cached.patches("train")
        assert left.exists(), "somebody may be writing it"
        monkeypatch.setattr(shard_reader, "_ABANDONED_S", -1.0)
        cached.patches("train")
        assert self.files(cached) == kept

    def test_a_cache_that_cannot_be_written_is_told_in_one_line(self, cached: Shards) -> None:
        assert cached.cache is not None
        Path(cached.cache).write_bytes(b"not a folder")
        with pytest.raises(SourceError, match=rf"^the cache {cached.cache}: "):
            stream(cached, 12)

    def test_folders_need_none(self, shards: Shards, tmp_path: Path) -> None:
        stream(replace(shards, cache=str(tmp_path / "cache"), cache_bytes=1 << 30), 1)
        assert not (tmp_path / "cache").exists()


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


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_shard_is_a_source_error(own: Path, site: Site, workers: int) -> None:
    missing = sorted(own.glob("train-*.tar"))[1]
    missing.unlink()
    with pytest.raises(SourceError, match=rf"^{missing}: no such file$"):
        stream(Shards(str(own)), 8, workers=workers)
    with pytest.raises(SourceError, match=rf"^{site.address}set/{missing.name}: 404 Not Found$"):
        stream(on_site(site, own), 8, workers=workers)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "index.json: no such file"),
        ("{", "index.json is not JSON"),
        ("[]", "index.json is not an index of shards"),
    ],
)
def test_a_folder_without_shards_says_so(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(SourceError, match=rf"^no shards in {tmp_path}: .*{said}$"):
        Shards(str(tmp_path)).index()


def test_places_without_shards_say_so(site: Site, s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="bucket", Key="other/x", Body=b"")
    with pytest.raises(
        SourceError, match=rf"^no shards in {site.address}x: {site.address}x/index.json: 404 Not Found$"
    ):
        Shards(f"{site.address}x").index()
    with pytest.raises(SourceError, match=r"^no shards in s3://bucket/none: s3://bucket/none/index\.json: 404"):
        Shards("s3://bucket/none").index()
    with pytest.raises(SourceError, match=rf"^no shards in {tmp_path}/none: .*no such folder$"):
        Shards(f"{tmp_path}/none").index()


def test_shards_can_be_sent_to_another_process(shards: Shards) -> None:
    again = pickle.loads(pickle.dumps(shards))
    assert again == shards
    assert len(pickle.loads(pickle.dumps(again.patches("val")))) == len(shards.patches("val"))
