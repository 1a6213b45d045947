"""Manifests with an address for each file, and several of them joined."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.data.dataset import Dataset, NamedDataset, revision_of
from components.data.fetch import fetch
from components.data.listing import join_listings, read_listing
from components.errors import SourceError
from tests.components.data.sets import Web, contents, data_set, picture, sha256
from tests.site import Site

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "profiles" / "manifests"


def written(path: Path, files: Mapping[str, tuple[bytes, str | None]], **fields: Any) -> Path:
    """A manifest of files with their content and, unless it is None, their own address."""
    entries = [
        {"name": name, "sha256": sha256(data), **({} if url is None else {"url": url})}
        for name, (data, url) in files.items()
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"dataset": path.stem, **fields, "files": entries}))
    return path


@pytest.fixture
def own(web: Web, tmp_path: Path) -> NamedDataset:
    """Two pictures that lie in different places under other names."""
    web.files = {"x/deep/first.png": picture(1), "y/%C3%A4.png?raw=1": picture(2)}
    urls = [f"{web.address}/{path}" for path in web.files]
    files = {"a.png": (picture(1), urls[0]), "b.png": (picture(2), urls[1])}
    return data_set("own", manifest=written(tmp_path / "own.json", files))


def test_each_file_comes_from_its_own_address(own: NamedDataset, web: Web, tmp_path: Path) -> None:
    manifest = fetch(own, tmp_path / "out")
    assert web.served() == ["x/deep/first.png", "y/%C3%A4.png?raw=1"]
    assert [file.source_name for file in manifest.files] == ["a.png", "b.png"]
    assert (manifest.source, [file.sha256 for file in manifest.files]) == (
        None,
        [sha256(picture(1)), sha256(picture(2))],
    )


def test_a_mirror_takes_the_place_of_all_addresses(own: NamedDataset, site: Site, tmp_path: Path) -> None:
    site.files = {"own/a.png": picture(1), "own/b.png": picture(2)}
    mirrored = replace(own, mirror=site.address)
    assert fetch(mirrored, tmp_path / "mirrored") == fetch(own, tmp_path / "out")
    assert sorted(site.requests) == ["own/a.png", "own/b.png"]
    assert contents(tmp_path / "mirrored") == contents(tmp_path / "out")


def test_a_fetch_that_broke_off_asks_for_the_rest_alone(own: NamedDataset, web: Web, tmp_path: Path) -> None:
    web.budget = 1
    with pytest.raises(SourceError, match="403"):
        fetch(own, tmp_path / "out", workers=1)
    assert len(web.served()) == 1
    web.budget = 100
    manifest = fetch(own, tmp_path / "out", workers=1)
    assert len(web.served()) == 1
    assert len(manifest.files) == 2
    fetch(own, tmp_path / "out")
    assert web.served() == []


def test_base_url_serves_files_without_an_address(web: Web, tmp_path: Path) -> None:
    web.files = {"base/a%20b.png": picture(1), "else.png": picture(2)}
    files = {"a b.png": (picture(1), None), "c.png": (picture(2), f"{web.address}/else.png")}
    fetch(
        data_set("set", manifest=written(tmp_path / "set.json", files, base_url=f"{web.address}/base/")), tmp_path / "o"
    )
    assert web.served() == ["base/a%20b.png", "else.png"]


def test_a_file_without_any_address_wants_a_mirror(tmp_path: Path) -> None:
    files: dict[str, tuple[bytes, str | None]] = {"a.png": (b"", None), "b.png": (b"", "http://127.0.0.1:1/b.png")}
    with pytest.raises(SourceError, match="name a mirror"):
        fetch(data_set("set", manifest=written(tmp_path / "set.json", files)), tmp_path / "out")


@pytest.mark.parametrize("url", ["ftp://example.org/a.png", "a.png", "", 3])
def test_an_address_that_is_none(tmp_path: Path, url: Any) -> None:
    with pytest.raises(SourceError, match="not a manifest"):
        read_listing(written(tmp_path / "set.json", {"a.png": (b"", url)}))


@pytest.fixture
def joined(own: NamedDataset, web: Web, tmp_path: Path) -> NamedDataset:  # noqa: ARG001 - writes own.json
    """`own` and a set below a common address; both have an a.png."""
    web.files["base/a.png"] = picture(3)
    written(tmp_path / "other.json", {"a.png": (picture(3), None)}, base_url=f"{web.address}/base")
    return NamedDataset("both", Dataset(manifest=["own.json", "other.json"]), root=tmp_path)


def test_joined_sets(joined: NamedDataset, web: Web, tmp_path: Path) -> None:
    manifest = fetch(joined, tmp_path / "out")
    assert [file.name for file in manifest.files] == ["other_a.png", "own_a.png", "own_b.png"]
    assert [file.source_name for file in manifest.files] == ["other/a.png", "own/a.png", "own/b.png"]
    assert [file.sha256 for file in manifest.files] == [sha256(picture(seed)) for seed in (3, 1, 2)]
    assert web.served() == ["base/a.png", "x/deep/first.png", "y/%C3%A4.png?raw=1"]


def test_joined_sets_on_a_mirror_lie_where_each_lies_alone(joined: NamedDataset, tmp_path: Path) -> None:
    for seed, name in enumerate(("own/a.png", "own/b.png", "other/a.png"), 1):
        path = tmp_path / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))
    assert len(fetch(replace(joined, mirror=str(tmp_path / "mirror")), tmp_path / "out").files) == 3


def test_the_revision_of_joined_sets_is_that_of_their_hashes(joined: NamedDataset, tmp_path: Path) -> None:
    before = revision_of(joined)
    written(tmp_path / "other.json", {"a.png": (picture(4), None)})
    assert revision_of(joined) != before


def test_the_shipped_photographs() -> None:
    """Each file of open-photographs has a pinned address, a licence, and a credit where its place gives one."""
    path = MANIFESTS / "open-photographs.json"
    files = json.loads(path.read_text())["files"]
    listing = read_listing(path)
    assert len(files) == len(listing.urls) == len(set(listing.hashes.values())) == 284
    assert all(len(url.split("/")[5]) == 40 for url in listing.urls.values()), "pinned to commits"
    assert all(file["license"] and isinstance(file["credit"], str) for file in files)
    both = join_listings([MANIFESTS / "cid22-train.json", path])
    assert both.hashes.keys() == both.urls.keys()
    assert len(both.hashes) == 209 + 284
    pinned = read_listing(MANIFESTS / "cid22-train.json")
    assert both.urls["cid22-train/1001682.png"] == f"{pinned.address}1001682.png"
