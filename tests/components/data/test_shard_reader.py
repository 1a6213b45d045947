import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.data import shard_reader
from components.data.image_files import decode_rgb
from components.data.shard_reader import Shards
from components.errors import SourceError
from components.storage import remote as remote_sources
from tests.components.data.streams import BATCH, batches, digest, on_site, place_of, stream
from tests.site import Site

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("workers", [0, 2])
def test_connections_that_drop_change_nothing(
    site: Site, tiny_shards: Path, shards: Shards, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_sources, "ATTEMPTS", 30)  # since one request may meet the faults of many
    remote = on_site(site, tiny_shards)
    site.faults = {path: ["short", "hang up", 503, "short", "short"] for path in site.files}
    assert digest(stream(remote, 10, workers=workers)) == digest(stream(shards, 10))
    assert not any(faults for path, faults in site.faults.items() if "/val-" not in path), "all of them were met"


def test_a_server_that_stays_away_is_an_error_of_one_line(site: Site, tiny_shards: Path) -> None:
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
    def test_its_size_is_bounded_and_it_spares_requests(
        self, site: Site, cached: Shards, shards: Shards, workers: int
    ) -> None:
        count = len(shards.patches("train"))
        steps = -(-count // BATCH) + shard_reader.BATCHES_AHEAD + 1
        assert digest(stream(cached, steps, workers=workers)) == digest(stream(shards, steps))
        copies = self.files(cached)
        assert len(copies) == 10
        assert sum(path.stat().st_size for path in copies) <= cached.cache_bytes
        patches = cached.patches("train")
        site.requests.clear()
        with patches.reader() as reader:
            found = [reader.read(position) for position in range(count)]
        assert len(site.requests) == count - 10, "the second epoch reads what does not fit, and nothing else"
        with shards.patches("train").reader() as reader:
            assert found == [reader.read(position) for position in range(count)]
        assert self.files(cached) == copies

    def test_a_copy_of_the_wrong_size_is_made_anew(self, cached: Shards, shards: Shards) -> None:
        stream(cached, 12)
        copies = self.files(cached)
        copies[0].write_bytes(copies[0].read_bytes()[:-1])
        copies[1].write_bytes(b"")
        assert digest(stream(cached, 12)) == digest(stream(shards, 12))
        assert all(decode_rgb(path.read_bytes()).shape == (64, 64, 3) for path in copies)

    def test_other_shards_do_not_mix_and_stay(self, site: Site, cached: Shards, shards: Shards) -> None:
        stream(cached, 12)
        copies = self.files(cached)
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
        assert set(copies) < set(self.files(cached))

    def test_temporary_files_of_killed_processes_are_removed(
        self, cached: Shards, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stream(cached, 12)
        copies = self.files(cached)
        left = copies[0].with_name(f".{copies[0].name}.abc")
        left.write_bytes(b"half")
        cached.patches("train")
        assert left.exists(), "another process may be writing it"
        monkeypatch.setattr(shard_reader, "_ABANDONED_S", -1.0)
        cached.patches("train")
        assert self.files(cached) == copies

    def test_a_cache_that_cannot_be_written_is_an_error_of_one_line(self, cached: Shards) -> None:
        assert cached.cache is not None
        Path(cached.cache).write_bytes(b"not a folder")
        with pytest.raises(SourceError, match=rf"^the cache {cached.cache}: "):
            stream(cached, 12)

    def test_a_folder_is_not_cached(self, shards: Shards, tmp_path: Path) -> None:
        stream(replace(shards, cache=str(tmp_path / "cache"), cache_bytes=1 << 30), 1)
        assert not (tmp_path / "cache").exists()


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
        ('{"spec": {}, "splits": {}}', "index.json is not an index of shards"),
    ],
)
def test_a_folder_without_shards_is_an_error(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(SourceError, match=rf"^no shards in {tmp_path}: .*{said}$"):
        Shards(str(tmp_path)).index()


def test_an_address_without_shards_is_an_error(site: Site, s3: Any, tmp_path: Path) -> None:
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
