import errno
import io
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from components.storage.atomic import link_folder, read_json, replacing, write_bytes, write_json


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    return path


def assert_untouched(old: Path) -> None:
    assert old.read_bytes() == b"old"
    assert list(old.parent.iterdir()) == [old], "no temporary file is left"


def test_a_file_is_replaced(old: Path) -> None:
    write_bytes(old, b"new")
    assert old.read_bytes() == b"new"
    assert list(old.parent.iterdir()) == [old]
    assert stat.S_IMODE(old.stat().st_mode) == 0o644


def test_folders_are_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c", b"")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b""


def test_the_old_file_is_there_until_the_new_one_is_whole(old: Path) -> None:
    with replacing(old) as temporary:
        temporary.write_bytes(b"half")
        assert old.read_bytes() == b"old"
        assert temporary.parent == old.parent, "a rename must not cross file systems"
        temporary.write_bytes(b"whole")
    assert old.read_bytes() == b"whole"


@pytest.mark.parametrize("error", [ValueError("in the middle"), KeyboardInterrupt(), SystemExit(143)])
def test_an_exception_leaves_the_old_file(old: Path, error: BaseException) -> None:
    def half() -> None:
        with replacing(old) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        half()
    assert_untouched(old)


def test_a_full_disk_leaves_the_old_file(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        with io.open(path, "wb") as file:  # noqa: UP020 - what is left of the write
            file.write(data[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes(old, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert_untouched(old)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_later_leaves_the_old_file(old: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_bytes(old, b"new")
    assert_untouched(old)


def test_what_is_renamed_was_flushed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def flushing(number: int) -> None:
        done.append("flush")
        fsync(number)

    def renaming(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "replace", renaming)
    write_bytes(old, b"new")
    assert done == ["flush", "rename"]


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, "µ"], "a": {"x": True}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    text = (tmp_path / "v.json").read_text()
    assert text.endswith("}\n")
    assert list(read_json(tmp_path / "v.json")) == ["b", "a"], "the order is the writer's"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_that_no_program_can_read_is_refused(old: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old, {"bpp": value})
    assert_untouched(old)


def test_a_linked_folder_replaces_what_was_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.mkdir()
    (source / "a").write_text("a")
    link_folder(source, target)
    (source / "a").unlink()
    (source / "b").write_text("b")
    assert (target / "a").read_text() == "a"
    link_folder(source, target)
    assert {path.name for path in target.iterdir()} == {"b"}
    assert {path.name for path in target.parent.iterdir()} == {"target"}


def test_a_folder_is_copied_where_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    link_folder(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target" / "a").read_text() == "a"
