import json
import os
import pickle
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.arrays import Rgb
from components.data.cifar10 import read_batch
from components.data.dataset import FetchSpec
from components.data.fetch import fetch
from components.data.image_files import decode_rgb, encode_png
from components.data.patches import Augmentation
from components.data.shard_writer import ShardSpec, SourceImage, write_shards
from components.errors import SourceError
from components.storage import remote as remote_sources
from tests.cifar import archive, batch, cifar10, python2_pickle
from tests.site import Site

NAME = "cifar-10-python.tar.gz"


def pictures(count: int, seed: int) -> dict[str, Rgb]:
    values = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return {f"tabby_cat_s_{number:06d}.png": rgb for number, rgb in enumerate(values)}


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


def read(tmp_path: Path, data: bytes) -> dict[str, Rgb]:
    (tmp_path / "test_batch").write_bytes(data)
    return read_batch(tmp_path / "test_batch")


def test_the_test_batch_over_http_by_its_md5(site: Site, packed: bytes, tmp_path: Path) -> None:
    manifest = listing(tmp_path / "cifar10.json", packed, f"{site.address}kriz/")
    spec = FetchSpec("cifar10-test", manifest=manifest, members="*/test_batch/*")
    fetched = fetch(spec, tmp_path / "out")
    assert len(fetched.files) == 200
    for file in fetched.files:
        original = BATCHES["test_batch"][file.source_name.removeprefix(f"{NAME}/cifar-10-batches-py/test_batch/")]
        data = (tmp_path / "out" / file.name).read_bytes()
        assert np.array_equal(decode_rgb(data), original)
        assert sha256(data).hexdigest() == file.sha256 == file.source_sha256
        assert file.name.startswith("cifar-10-batches-py_test_batch_tabby_cat_s_")
        assert (file.width, file.height) == (32, 32)
    assert [(one.name, one.md5) for one in fetched.archives] == [(NAME, md5(packed, usedforsecurity=False).hexdigest())]
    assert fetch(spec, tmp_path / "out") == fetched
    assert site.requests == [f"kriz/{NAME}"], "it was all there"


def test_pictures_of_one_name_in_several_batches_and_a_subset_from_a_mirror(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "mirror" / "cifar10").mkdir(parents=True)
    (tmp_path / "mirror" / "cifar10" / NAME).write_bytes(packed)
    spec = FetchSpec("cifar10", files=[NAME], mirror=str(tmp_path / "mirror"))
    everything = fetch(spec, tmp_path / "all")
    assert len({file.name for file in everything.files}) == 260
    some = fetch(replace(spec, members="*/test_batch/*_00012?.png"), tmp_path / "some")
    assert [file.name for file in some.files] == [
        f"cifar-10-batches-py_test_batch_tabby_cat_s_00012{digit}.png" for digit in range(10)
    ]
    assert set(some.files) < set(everything.files)


def test_another_md5(site: Site, packed: bytes, tmp_path: Path) -> None:
    found, wanted = (md5(data, usedforsecurity=False).hexdigest()[:12] for data in (packed, b""))
    spec = FetchSpec("set", f"{site.address}kriz", manifest=listing(tmp_path / "set.json", b""))
    with pytest.raises(SourceError, match=rf"{NAME} has the wrong content: expected md5 {wanted}, found {found}"):
        fetch(spec, tmp_path / "out")
    fetch(replace(spec, manifest=listing(tmp_path / "right.json", packed)), tmp_path / "out")
    with pytest.raises(SourceError, match="wrong content"):
        fetch(spec, tmp_path / "out")


@pytest.mark.parametrize("entry", [{"md5": "c58f"}, {"md5": "c58f" * 16}, {"sha256": "c58f" * 8}, {"md5": 3}])
def test_a_hash_of_another_length(entry: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps({"files": [{"name": "a.png", **entry}]}))
    with pytest.raises(SourceError, match="not a manifest"):
        FetchSpec("set", manifest=tmp_path / "set.json").public()


def test_a_picture_pinned_by_its_md5(site: Site, tmp_path: Path) -> None:
    png, other = (encode_png(rgb) for rgb in list(pictures(2, 7).values()))
    site.files["kriz/a.png"] = png
    entry = {"name": "a.png", "md5": md5(png, usedforsecurity=False).hexdigest()}
    (tmp_path / "set.json").write_text(json.dumps({"base_url": f"{site.address}kriz", "files": [entry]}))
    spec = FetchSpec("set", manifest=tmp_path / "set.json")
    fetch(spec, tmp_path / "out")
    fetch(spec, tmp_path / "out")
    assert site.requests == ["kriz/a.png"]
    (tmp_path / "out" / "a.png").write_bytes(other)
    fetch(spec, tmp_path / "out")
    assert (tmp_path / "out" / "a.png").read_bytes() == png


def test_a_name_that_comes_again_is_told_apart(tmp_path: Path) -> None:
    content = batch(pictures(3, 5))
    content[b"filenames"][2] = content[b"filenames"][0]
    assert list(read(tmp_path, python2_pickle(content))) == [
        "tabby_cat_s_000000.png",
        "tabby_cat_s_000001.png",
        "tabby_cat_s_000000-2.png",
    ]


def test_a_batch_that_python_3_wrote(tmp_path: Path) -> None:
    content = pickle.dumps(batch(BATCHES["test_batch"]), protocol=2)
    found = read(tmp_path, content)
    assert all(np.array_equal(found[name], rgb) for name, rgb in BATCHES["test_batch"].items())


class Hostile:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = call, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def _with(**fields: Any) -> bytes:
    return python2_pickle({**batch(pictures(3, 5)), **{name.encode(): value for name, value in fields.items()}})


def _never_hashed() -> bytes:
    """A key of two keys of two keys: 2 ** 60 of them, in a few hundred bytes."""
    grow = b"".join(pickle.BINPUT + bytes([n]) + pickle.BINGET + bytes([n]) + pickle.TUPLE2 for n in range(60))
    return b"\x80\x02}(K\x01" + grow + b"K\x02u."


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pickle.dumps({b"data": Hostile(os.system, "touch evil")}, protocol=2), r"asks for posix\.system"),
        (pickle.dumps({b"data": Hostile(eval, "1")}, protocol=2), r"asks for __builtin__\.eval"),
        (b"\x80\x02cnumpy\nload\nU\x04evil\x85R.", r"asks for numpy\.load"),
        (b"\x80\x02}r\xff\xff\xff\xff.", "no array"),  # a memo of 2 ** 32 entries
        (_never_hashed(), "keys that are no bytes"),
        (b"\x80\x02}]U\x01a.", "AttributeError"),
        (b"\x80\x02}U\xffa", "EOFError"),
        (_with()[:4000], "EOFError"),
        (b"<html>not found</html>", "KeyError"),
        (b"", "EOFError"),
        (_with(data=b"abc"), "no array"),
        (_with(data=np.zeros((3, 3072), np.float32)), "not uint8"),
        (_with(data=np.zeros((3, 3071), np.uint8)), r"9213 bytes, and not the shape \(n, 3072\)"),
        (_with(data=np.zeros((3, 32, 32, 3), np.uint8)), "not the shape"),
        (_with(data=np.zeros((2, 3072), np.uint8)), "no list of 2 filenames"),
        (_with(filenames=b"abc"), "no list of 3 filenames"),
        (_with(filenames=[b"a.png", b"../b.png", b"c.png"]), "'../b.png' is not the plain name"),
        (_with(filenames=[b"a.png", b"b.exe", b"c.png"]), "'b.exe' is not the plain name"),
        (_with(filenames=[b"a.png", b".b.png", b"c.png"]), "plain name"),
        (_with(filenames=[b"a.png", b"\xe9.png", b"c.png"]), "UnicodeDecodeError"),
        (_with(filenames=[b"a-2.png", b"a.png", b"a.png"]), "a-2.png comes twice"),
        (_with(filenames=[b"a.png", 3, b"c.png"]), "AttributeError"),
    ],
)
def test_a_hostile_or_broken_batch(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "x.tar.gz").write_bytes(archive({"deep/test_batch": content}))
    started = time.monotonic()
    with pytest.raises(SourceError, match=f"test_batch: not a batch of pictures: .*({why})") as caught:
        fetch(FetchSpec("set", str(tmp_path / "source")), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10
    assert not Path("evil").exists()


def test_patches_as_large_as_the_pictures(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / NAME).write_bytes(packed)
    spec = FetchSpec("cifar10", str(tmp_path / "source"), members="*/data_batch_?/*")
    fetched = fetch(spec, tmp_path / "out")
    images = [SourceImage(tmp_path / "out" / file.name, file.sha256) for file in fetched.files]
    shards = ShardSpec(Augmentation(32, 0.5, 45.0, 0.5), 1, 0.8, seed=1)
    index = write_shards(images, shards, tmp_path / "shards", parallel_map=map)
    assert sum(split["samples"] for split in index["splits"].values()) == 60
    for path in (tmp_path / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in filter(lambda name: name.endswith(".json"), found):
            facts = json.loads(found[name])
            assert (facts["scale"], facts["angle"], facts["offset"]) == (1, 0, [0, 0])
            whole = decode_rgb((tmp_path / "out" / facts["source"]).read_bytes())
            assert np.array_equal(decode_rgb(found[name.replace(".json", ".png")]), whole)
