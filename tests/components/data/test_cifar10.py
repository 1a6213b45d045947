import json
import tarfile
from collections.abc import Iterator
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.arrays import Rgb
from components.data.cifar10 import is_batch, read_batch
from components.data.fetch import fetch
from components.data.image_files import decode_rgb, encode_png
from components.data.shard_spec import ShardSpec
from components.data.shard_writer import SourceImage, write_shards
from components.errors import SourceError
from components.storage import remote as remote_sources
from tests.cifar import archive, batch, cifar10
from tests.components.data.sets import changed, data_set
from tests.site import Site

NAME = "cifar-10-binary.tar.gz"
RECORD = 3073


def pictures(count: int, seed: int) -> list[Rgb]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


BATCHES = {"data_batch_1": pictures(30, 1), "data_batch_2": pictures(30, 2), "test_batch": pictures(200, 3)}


@pytest.fixture(scope="module")
def packed() -> bytes:
    return cifar10(BATCHES)


@pytest.fixture
def site(packed: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote_sources, "BACKOFF_S", 0.001)
    site = Site()
    site.files[f"kriz/{NAME}"] = packed
    yield site
    site.close()


def listing(path: Path, data: bytes, base_url: str | None = None) -> Path:
    entry = {"name": NAME, "md5": md5(data, usedforsecurity=False).hexdigest()}
    path.write_text(json.dumps({"base_url": base_url, "files": [entry]}))
    return path


def test_the_test_batch_over_http_by_its_md5(site: Site, packed: bytes, tmp_path: Path) -> None:
    manifest = listing(tmp_path / "cifar10.json", packed, f"{site.address}kriz/")
    dataset = data_set("cifar10-test", manifest=manifest, members="*/test_batch.bin/*")
    fetched = fetch(dataset, tmp_path / "out")
    assert [file.name for file in fetched.files] == [
        f"cifar-10-batches-bin_test_batch.bin_{place:05d}.png" for place in range(200)
    ]
    for file, original in zip(fetched.files, BATCHES["test_batch"], strict=True):
        assert file.source_name == f"{NAME}/cifar-10-batches-bin/test_batch.bin/{file.name[-9:]}"
        data = (tmp_path / "out" / file.name).read_bytes()
        assert np.array_equal(decode_rgb(data), original)
        assert sha256(data).hexdigest() == file.sha256 == file.source_sha256
        assert (file.width, file.height) == (32, 32)
    assert [(one.name, one.md5) for one in fetched.archives] == [(NAME, md5(packed, usedforsecurity=False).hexdigest())]
    assert fetch(dataset, tmp_path / "out") == fetched
    assert site.requests == [f"kriz/{NAME}"], "it was all there"


def test_pictures_of_one_name_in_several_batches_and_a_subset_from_a_mirror(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "mirror" / "cifar10").mkdir(parents=True)
    (tmp_path / "mirror" / "cifar10" / NAME).write_bytes(packed)
    dataset = data_set("cifar10", files=[NAME], mirror=str(tmp_path / "mirror"))
    everything = fetch(dataset, tmp_path / "all")
    assert len({file.name for file in everything.files}) == 260
    some = fetch(changed(dataset, members="*/test_batch.bin/0012?.png"), tmp_path / "some")
    assert [file.name for file in some.files] == [
        f"cifar-10-batches-bin_test_batch.bin_0012{digit}.png" for digit in range(10)
    ]
    assert set(some.files) < set(everything.files)


def test_another_md5(site: Site, packed: bytes, tmp_path: Path) -> None:
    found, wanted = (md5(data, usedforsecurity=False).hexdigest()[:12] for data in (packed, b""))
    dataset = data_set("set", f"{site.address}kriz", manifest=listing(tmp_path / "set.json", b""))
    with pytest.raises(SourceError, match=rf"{NAME} has the wrong content: expected md5 {wanted}, found {found}"):
        fetch(dataset, tmp_path / "out")
    fetch(changed(dataset, manifest=str(listing(tmp_path / "right.json", packed))), tmp_path / "out")
    with pytest.raises(SourceError, match="wrong content"):
        fetch(dataset, tmp_path / "out")


@pytest.mark.parametrize("entry", [{"md5": "c58f"}, {"md5": "c58f" * 16}, {"sha256": "c58f" * 8}, {"md5": 3}])
def test_a_hash_of_another_length(entry: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps({"files": [{"name": "a.png", **entry}]}))
    with pytest.raises(SourceError, match="not a manifest"):
        data_set("set", manifest=tmp_path / "set.json").listing()


def test_a_picture_pinned_by_its_md5(site: Site, tmp_path: Path) -> None:
    png, other = (encode_png(rgb) for rgb in pictures(2, 7))
    site.files["kriz/a.png"] = png
    entry = {"name": "a.png", "md5": md5(png, usedforsecurity=False).hexdigest()}
    (tmp_path / "set.json").write_text(json.dumps({"base_url": f"{site.address}kriz", "files": [entry]}))
    dataset = data_set("set", manifest=tmp_path / "set.json")
    fetch(dataset, tmp_path / "out")
    fetch(dataset, tmp_path / "out")
    assert site.requests == ["kriz/a.png"]
    (tmp_path / "out" / "a.png").write_bytes(other)
    fetch(dataset, tmp_path / "out")
    assert (tmp_path / "out" / "a.png").read_bytes() == png


def test_the_planes_of_a_record() -> None:
    """Red, green and blue, row by row, behind the label."""
    red_row_green_column = np.zeros((32, 32, 3), np.uint8)
    red_row_green_column[1, :, 0] = 255
    red_row_green_column[:, 2, 1] = 255
    data = batch([red_row_green_column])
    assert data[1 + 32 : 1 + 64] == b"\xff" * 32
    assert data[1 + 1024 + 2 : 1 + 2048 : 32] == b"\xff" * 32


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("cifar-10-batches-bin/data_batch_5.bin", True),
        ("test_batch.bin", True),
        ("test_batch", False),
        ("data_batch_1.bin.png", False),
        ("data_batch_.bin", False),
        ("batches.meta.txt", False),
    ],
)
def test_which_files_are_batches(path: str, named: bool) -> None:
    assert is_batch(path) == named


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", f"0 bytes, not a multiple of {RECORD}"),
        (b"<html>not found</html>", f"22 bytes, not a multiple of {RECORD}"),
        (batch(pictures(3, 5))[:-1], f"{3 * RECORD - 1} bytes"),
        (b"\x0a" + batch(pictures(1, 5))[1:], "a label is 10, of 0 to 9"),
    ],
)
def test_a_broken_batch(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(SourceError, match=rf"^test_batch\.bin: not a batch of pictures: {why}"):
        read_batch(tmp_path / "test_batch.bin")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "x.tar.gz").write_bytes(archive({"deep/test_batch.bin": content}))
    with pytest.raises(SourceError, match=why) as caught:
        fetch(data_set("set", str(tmp_path / "source")), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_patches_as_large_as_the_pictures(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / NAME).write_bytes(packed)
    fetched = fetch(data_set("cifar10", str(tmp_path / "source"), members="*/data_batch_?.bin/*"), tmp_path / "out")
    images = [SourceImage(tmp_path / "out" / file.name, file.sha256) for file in fetched.files]
    spec = ShardSpec(
        patch=32, smallest_scale=0.5, largest_angle=45.0, rotated_share=0.5, patches_per_image=1, train_share=0.8
    )
    index = write_shards(images, spec, tmp_path / "shards", seed=1, parallel_map=map)
    assert sum(split.samples for split in index.splits.values()) == 60
    for path in (tmp_path / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in filter(lambda name: name.endswith(".json"), found):
            facts = json.loads(found[name])
            assert (facts["scale"], facts["angle"], facts["crop"]) == (1, 0, [0, 0, 32, 32])
            whole = decode_rgb((tmp_path / "out" / facts["source"]).read_bytes())
            assert np.array_equal(decode_rgb(found[name.replace(".json", ".png")]), whole)
