import shutil
from pathlib import Path
from typing import Any

import pytest

from components.data.fetch import fetch
from components.data.manifest import Manifest
from components.errors import SourceError
from tests.components.data.sets import Web, contents, data_set, listing, picture, zipped


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


def test_an_archive_is_not_fetched_twice_by_a_run_cut_short(web: Web, tmp_path: Path) -> None:
    web.files = {"x.zip": zipped({f"{number}.png": picture(number) for number in range(3)})}
    spec = data_set("set", web.address, ["x.zip", "z.png"])
    with pytest.raises(SourceError, match=r"z\.png: 404"):
        fetch(spec, tmp_path / "out")
    web.files["z.png"] = picture(7)
    web.served()
    assert len(fetch(spec, tmp_path / "out").files) == 4
    assert web.served() == ["z.png"]
