import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from ruamel.yaml import YAML

from components.data.dataset import Dataset, NamedDataset, stored_names
from components.data.fetch import fetch
from components.data.image_files import decode, decode_rgb
from components.data.manifest import Manifest
from components.errors import SourceError
from components.storage import remote as remote_sources
from components.storage.sources import open_source
from tests.components.data.sets import changed, data_set

ROOT = Path(__file__).parents[3]


def picture(seed: int, mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (8, 12, len(mode)), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(array[..., 0] if len(mode) == 1 else array, mode).save(out, kind, **options)
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listing(path: Path, files: dict[str, bytes], base_url: str | None = None) -> Path:
    entries = [{"name": name, "sha256": sha256(data)} for name, data in files.items()]
    path.write_text(json.dumps({"dataset": "set", "base_url": base_url, "not_in_this_copy": [], "files": entries}))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Web:
    """Files over http on loopback, and the requests served; from a chosen request on, only 403."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.budget = 1_000_000
        lock = Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                name = handler.path.lstrip("/")
                with lock:
                    self.budget -= 1
                    open_for_business = self.budget >= 0
                    if open_for_business:
                        self.requests.append(name)
                content = self.files.get(name)
                found = content is not None and open_for_business
                handler.send_response(200 if found else 404 if open_for_business else 403)
                handler.send_header("Content-Length", str(len(content or b"") if found else 0))
                handler.end_headers()
                if found:
                    handler.wfile.write(content or b"")

            def log_message(handler, *_: Any) -> None:  # noqa: N805
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def served(self) -> list[str]:
        served, self.requests = sorted(self.requests), []
        return served


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(remote_sources, "BACKOFF_S", 0.001)
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures that stay, two that are written anew, and what is no picture."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.png").write_bytes(picture(1))
    (folder / "a.jpg").write_bytes(picture(2, kind="JPEG"))
    (folder / "grey.tif").write_bytes(picture(3, "L", "TIFF"))
    (folder / "sub" / "alpha.png").write_bytes(picture(4, "RGBA"))
    (folder / "README.md").write_text("photographs")
    return folder


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


def test_no_address_at_all(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="name a mirror"):
        fetch(data_set("set", files=["a.png"]), tmp_path / "out")
    with pytest.raises(SourceError, match="name a mirror"):
        fetch(data_set("set", manifest=listing(tmp_path / "set.json", {"a.png": b""})), tmp_path / "out")


@pytest.mark.parametrize("hashed", [True, False])
def test_a_fetch_cut_short_is_resumed(web: Web, tmp_path: Path, hashed: bool) -> None:
    kinds: list[dict[str, Any]] = [{}, {"mode": "L"}, {"kind": "JPEG"}, {"mode": "RGBA"}]
    web.files = {f"{number}.png": picture(number, **kinds[number % 4]) for number in range(12)}
    manifest = listing(tmp_path / "set.json", web.files) if hashed else None
    spec = data_set("set", web.address, sorted(web.files), manifest)
    out = tmp_path / "out"
    web.budget = 5
    with pytest.raises(SourceError, match="403"):
        fetch(spec, out, workers=2)
    first = web.served()
    assert len(first) == 5
    assert not (out / "manifest.json").exists()
    web.budget = 1_000_000
    fetch(spec, out, workers=2)
    assert sorted(first + web.served()) == sorted(web.files), "each file was asked for once"
    fetch(spec, tmp_path / "at once")
    assert contents(out) == contents(tmp_path / "at once")
    web.served()
    fetch(spec, out)
    assert web.served() == []
    (out / "7.png").unlink()
    (out / "1.png").write_bytes(picture(99))
    fetch(spec, out)
    assert web.served() == ["1.png", "7.png"]
    assert contents(out) == contents(tmp_path / "at once")


def test_a_run_killed_at_any_write_is_completed_by_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    (folder / "more.zip").write_bytes(zipped({"c.png": picture(5), "d/e.png": picture(6, "L")}))
    spec = data_set("set", str(folder))
    fetch(spec, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    replace_file, kills, count = Path.replace, 0, 0

    def replace_or_die(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > kills:
            raise KilledError
        return replace_file(path, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    for number in range(100):
        kills, count = number, 0
        out = tmp_path / "killed"
        try:
            fetch(spec, out, workers=1)
        except KilledError:
            assert not (out / "manifest.json").exists() or Manifest.read(out / "manifest.json")
            kills, count = 10_000, 0
            fetch(spec, out, workers=1)
            assert contents(out) == whole
            shutil.rmtree(out)
        else:
            break
    assert number > 10


def test_a_journal_with_half_a_line(web: Web, tmp_path: Path) -> None:
    web.files = {"a.png": picture(1), "b.png": picture(2)}
    spec = data_set("set", web.address, ["a.png", "b.png", "c.png"])
    with pytest.raises(SourceError, match=r"c\.png: 404"):
        fetch(spec, tmp_path / "out", workers=1)
    with (tmp_path / "out" / ".fetch" / "journal.jsonl").open("a") as journal:
        journal.write('["file", {"name": "b.p')
    web.files["c.png"] = picture(3)
    web.served()
    fetch(spec, tmp_path / "out")
    assert web.served() == ["c.png"]


def test_pictures_of_another_source_are_not_taken_for_this_ones(web: Web, tmp_path: Path) -> None:
    web.files = {"one/a.png": picture(1), "two/a.png": picture(2)}
    fetch(data_set("set", f"{web.address}/one", ["a.png"]), tmp_path / "out")
    fetch(data_set("set", f"{web.address}/two", ["a.png"]), tmp_path / "out")
    assert (tmp_path / "out" / "a.png").read_bytes() == web.files["two/a.png"]


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


def test_an_archive_is_not_fetched_twice_by_a_run_cut_short(web: Web, tmp_path: Path) -> None:
    web.files = {"x.zip": zipped({f"{number}.png": picture(number) for number in range(3)})}
    spec = data_set("set", web.address, ["x.zip", "z.png"])
    with pytest.raises(SourceError, match=r"z\.png: 404"):
        fetch(spec, tmp_path / "out")
    web.files["z.png"] = picture(7)
    web.served()
    assert len(fetch(spec, tmp_path / "out").files) == 4
    assert web.served() == ["z.png"]


def test_a_hostile_archive(web: Web, tmp_path: Path) -> None:
    web.files = {"x.zip": zipped({"../../evil.png": picture(1)})}
    with pytest.raises(SourceError, match="outside"):
        fetch(data_set("set", web.address, ["x.zip"]), tmp_path / "out")
    assert not list(tmp_path.rglob("evil.png"))


def test_stored_names_are_unique() -> None:
    names = ["a.jpg", "a.png", "b/c.tif", "b_c.gif", "x.zip/d/e.png", "y.zip/d/e.png", "f.tif"]
    stored = stored_names(names)
    assert stored["a.jpg"] == ("a.jpg", "a.jpg.png")
    assert stored["a.png"] == ("a.png", "a.png")
    assert stored["f.tif"] == ("f.tif", "f.png")
    assert stored["x.zip/d/e.png"] == ("x.zip_d_e.png", "x.zip_d_e.png")
    every = [one for pair in stored.values() for one in {*pair}]
    assert len(every) == len(set(every))
    with pytest.raises(SourceError, match="taken"):
        stored_names(["a/b.png", "a_b.png", "c/a_b.png", "c_a/b.png"])


@pytest.mark.parametrize("out", ["photos", "photos/out", "."])
def test_the_source_folder_is_never_the_output(folder: Path, tmp_path: Path, out: str) -> None:
    before = contents(tmp_path)
    with pytest.raises(SourceError, match="may not share"):
        fetch(data_set("set", str(folder)), tmp_path / out)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[]", '{"files": [{"name": "a"}]}', '{"files": 3}'])
def test_a_bad_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(SourceError, match=r"set\.json: not a manifest"):
        fetch(data_set("set", str(tmp_path), manifest=tmp_path / "set.json"), tmp_path / "out")
    with pytest.raises(SourceError, match=r"none\.json: cannot be read"):
        fetch(data_set("set", str(tmp_path), manifest=tmp_path / "none.json"), tmp_path / "out")


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".a"])
def test_a_bad_name(name: str) -> None:
    with pytest.raises(SourceError):
        data_set(name)


@pytest.mark.parametrize("fields", [{"max_loss": 1.5}, {"max_loss": "0.5"}, {"url": "x"}, {"files": "a.png"}])
def test_a_bad_definition(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Dataset.model_validate(fields)


def test_a_manifest_of_version_0_1(tmp_path: Path) -> None:
    value: dict[str, Any] = {"name": "set", "source": None, "files": [], "archives": []}
    (tmp_path / "manifest.json").write_text(json.dumps({**value, "lost": [{"name": "a", "reason": "b"}]}))
    assert [file.name for file in Manifest.read(tmp_path / "manifest.json").undecodable] == ["a"]


def test_the_shipped_definitions() -> None:
    definitions = YAML(typ="safe").load(ROOT / "profiles" / "datasets.yaml")
    assert len(definitions) == 17
    for name, fields in definitions.items():
        definition = Dataset.model_validate(fields)
        assert definition.files or definition.manifest, "a public set names its files"
        if definition.manifest is not None:
            public, expected = NamedDataset(name, definition, root=ROOT).address_and_hashes()
            assert public is not None
            assert public.startswith("https://")
            assert expected
        if definition.source == "bundled":
            assert set(definition.files or ()) <= set(open_source("bundled").list())
