import json
from dataclasses import replace
from pathlib import Path

import boto3
import numpy as np
import pytest

from components.data.fetch import fetch
from components.data.image_files import decode, decode_rgb
from components.data.manifest import Manifest
from components.errors import SourceError
from tests.components.data.sets import Web, changed, contents, data_set, listing, picture, sha256, zipped


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    spec = data_set("set", str(folder))
    manifest = fetch(spec, tmp_path / "out", progress=lambda *now: seen.append(now))
    assert seen == [(done, 4) for done in range(5)]
    assert [file.name for file in manifest.files] == ["a.jpg", "b.png", "grey.png", "sub_alpha.png"]
    assert [file.source_name for file in manifest.files] == ["a.jpg", "b.png", "grey.tif", "sub/alpha.png"]
    assert set(contents(tmp_path / "out")) == {*(file.name for file in manifest.files), "manifest.json"}
    for file in manifest.files:
        stored, source = (tmp_path / "out" / file.name).read_bytes(), (folder / file.source_name).read_bytes()
        assert (sha256(stored), sha256(source)) == (file.sha256, file.source_sha256)
        assert (file.width, file.height) == (12, 8)
        assert decode(stored).plain
        assert np.array_equal(decode_rgb(stored), decode_rgb(source))
    assert [file.name for file in manifest.files if file.sha256 == file.source_sha256] == ["a.jpg", "b.png"]
    assert Manifest.read(tmp_path / "out" / "manifest.json") == manifest
    first = contents(tmp_path / "out")
    assert fetch(spec, tmp_path / "out", workers=1) == manifest
    assert fetch(spec, tmp_path / "other", workers=3) == manifest
    assert first == contents(tmp_path / "out") == contents(tmp_path / "other")


def test_bundled_photographs_whatever_the_mirror(tmp_path: Path) -> None:
    spec = data_set("test", "bundled", ["chelsea.png", "camera.png"], mirror=str(tmp_path / "nowhere"))
    manifest = fetch(spec, tmp_path / "out")
    assert [(file.name, file.width, file.height) for file in manifest.files] == [
        ("camera.png", 512, 512),
        ("chelsea.png", 451, 300),
    ]
    assert manifest.source == "bundled"


def test_what_does_not_belong_is_removed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch(data_set("set", str(folder)), out)
    (out / "left").mkdir()
    (out / "left" / "over.png").write_bytes(b"")
    (out / ".b.png.temporary").write_bytes(b"")
    (folder / "a.jpg").unlink()
    fetch(data_set("set", str(folder)), out)
    assert sorted(contents(out)) == ["b.png", "grey.png", "manifest.json", "sub_alpha.png"]


def test_every_mirror_gives_the_same_bytes(
    web: Web, folder: Path, tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"b.png": (folder / "b.png").read_bytes(), "grey.tif": (folder / "grey.tif").read_bytes()}
    manifest = listing(tmp_path / "set.json", files, "https://example.org/pinned/")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="mirror")
    (tmp_path / "disk" / "set").mkdir(parents=True)
    for name, data in files.items():
        client.put_object(Bucket="mirror", Key=f"deep/set/{name}", Body=data)
        (tmp_path / "disk" / "set" / name).write_bytes(data)
        web.files[f"set/{name}"] = data
    client.close()
    mirrors = [str(tmp_path / "disk"), f"{web.address}/", "s3://mirror/deep"]
    spec = data_set("set", manifest=manifest)
    got = []
    for number, mirror in enumerate(mirrors):
        fetch(replace(spec, mirror=mirror), tmp_path / str(number))
        got.append(contents(tmp_path / str(number)))
    assert got[0] == got[1] == got[2]
    assert json.loads(got[0]["manifest.json"])["source"] == "https://example.org/pinned/"
    fetch(replace(spec, mirror="s3://no-such-bucket"), tmp_path / "0")
    assert contents(tmp_path / "0") == got[0], "nothing was missing, so no mirror was asked"
    with pytest.raises(SourceError, match="no such bucket"):
        fetch(replace(spec, mirror="s3://no-such-bucket"), tmp_path / "3")


def test_files_that_lie_there_with_the_right_hash(web: Web, tmp_path: Path) -> None:
    files = {"a.png": picture(1), "grey.png": picture(2, "L")}
    (tmp_path / "out").mkdir()
    for name, data in files.items():
        (tmp_path / "out" / name).write_bytes(data)
    fetch(data_set("set", web.address, manifest=listing(tmp_path / "set.json", files)), tmp_path / "out")
    assert web.served() == []


def test_a_wrong_hash(web: Web, tmp_path: Path) -> None:
    right, wrong = picture(1), picture(2)
    web.files = {"a.png": wrong}
    spec = data_set("set", web.address, manifest=listing(tmp_path / "set.json", {"a.png": right}))
    expected = f"a\\.png .*expected sha256 {sha256(right)[:12]}, found {sha256(wrong)[:12]}"
    with pytest.raises(SourceError, match=expected):
        fetch(spec, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    web.files = {"a.png": right}
    assert len(fetch(spec, tmp_path / "out").files) == 1


def test_a_manifest_that_has_changed_brings_the_new_file(web: Web, tmp_path: Path) -> None:
    for seed in (1, 2):
        web.files = {"a.png": picture(seed, "L"), "b.png": picture(9)}
        manifest = listing(tmp_path / "set.json", web.files)
        got = fetch(data_set("set", web.address, manifest=manifest), tmp_path / "out")
        assert [file.source_sha256 for file in got.files] == [sha256(data) for data in web.files.values()]
    assert web.served() == ["a.png", "a.png", "b.png"]


def test_undecodable_files(web: Web, tmp_path: Path) -> None:
    web.files = {"a.png": picture(1), "b.png": picture(2)[:60], "c.png": b"text", "d.png": picture(3)}
    spec = data_set("set", web.address, list(web.files))
    with pytest.raises(SourceError, match=r"set: 2 of 4 files .*first: b\.png: "):
        fetch(spec, tmp_path / "out")
    with pytest.raises(SourceError, match="2 of 4"):
        fetch(changed(spec, max_loss=0.49), tmp_path / "out")
    manifest = fetch(changed(spec, max_loss=0.5), tmp_path / "out")
    assert [file.name for file in manifest.files] == ["a.png", "d.png"]
    assert [(file.name, file.reason[:9]) for file in manifest.undecodable] == [
        ("b.png", "cannot be"),
        ("c.png", "not a pic"),
    ]
    assert sorted(contents(tmp_path / "out")) == ["a.png", "d.png", "manifest.json"]
    web.files = {"c.png": b"text"}
    with pytest.raises(SourceError, match="empty data set"):
        fetch(data_set("set", web.address, ["c.png"], max_loss=1), tmp_path / "out")


def test_an_empty_source(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="empty data set"):
        fetch(data_set("set", str(tmp_path / "none")), tmp_path / "out")
    with pytest.raises(SourceError, match="explicit list"):
        fetch(data_set("set", "http://127.0.0.1:1/"), tmp_path / "out")


def test_archives(web: Web, tmp_path: Path) -> None:
    members = {
        "valid/a.png": picture(1),
        "valid/b.png": picture(2, "L"),
        "valid/notes.txt": b"no picture",
        "__MACOSX/valid/._a.png": b"no picture either",
        "other/a.png": picture(3),
    }
    web.files = {"x.zip": zipped(members), "sub/y.zip": zipped({"a.png": picture(4), "bad.png": b"no"})}
    web.files["c.jpg"] = picture(5, kind="JPEG")
    spec = data_set("set", web.address, list(web.files), max_loss=0.5)
    out = tmp_path / "out"
    manifest = fetch(spec, out)
    assert {file.source_name: file.name for file in manifest.files} == {
        "x.zip/valid/a.png": "valid_a.png",
        "x.zip/valid/b.png": "valid_b.png",
        "x.zip/other/a.png": "other_a.png",
        "sub/y.zip/a.png": "a.png",
        "c.jpg": "c.jpg",
    }
    assert [file.name for file in manifest.undecodable] == ["sub/y.zip/bad.png"]
    assert [(file.name, file.sha256) for file in manifest.archives] == [
        (name, sha256(web.files[name])) for name in ("sub/y.zip", "x.zip")
    ]
    before = contents(out)
    web.served()
    assert fetch(spec, out) == manifest
    assert web.served() == []
    (out / "valid_b.png").unlink()
    assert fetch(spec, out) == manifest
    assert web.served() == ["x.zip"]
    assert contents(out) == before
    narrow = fetch(changed(spec, members="valid/*", files=["x.zip"]), out)
    assert [file.name for file in narrow.files] == ["valid_a.png", "valid_b.png"]
    assert len(fetch(spec, out).files) == 5
    assert contents(out) == before


def test_a_hostile_archive(web: Web, tmp_path: Path) -> None:
    web.files = {"x.zip": zipped({"../../evil.png": picture(1)})}
    with pytest.raises(SourceError, match="outside"):
        fetch(data_set("set", web.address, ["x.zip"]), tmp_path / "out")
    assert not list(tmp_path.rglob("evil.png"))


def test_another_revision_fetches_anew_what_has_no_pinned_hash(web: Web, tmp_path: Path) -> None:
    web.files = {"a.png": picture(1)}
    dataset = data_set("set", web.address, ["a.png"], revision="one")
    fetch(dataset, tmp_path / "out", present="one")
    web.files = {"a.png": picture(2)}
    fetch(dataset, tmp_path / "out", present="one")
    assert web.served() == ["a.png"], "the same revision is not asked for again"
    fetch(changed(dataset, revision="two"), tmp_path / "out", present="one")
    assert (tmp_path / "out" / "a.png").read_bytes() == picture(2)
    pinned = data_set("set", web.address, manifest=listing(tmp_path / "set.json", web.files), revision="three")
    web.served()
    fetch(pinned, tmp_path / "out", present="two")
    assert web.served() == [], "a pinned hash is enough"
