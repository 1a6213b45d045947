import errno
import io
import math
import os
import stat
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Renames, and what is flushed to the disk: `file`, or the folder's name."""
    done: list[str] = []
    fsync = os.fsync

    def flushing(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").resolve()
        done.append(path.name if path.is_dir() else "file")
        fsync(number)

    def renaming(rename: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def recorded(path: Path, target: Path) -> Path:
            done.append("rename")
            return rename(path, target)

        return recorded

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "replace", renaming(Path.replace))
    monkeypatch.setattr(Path, "rename", renaming(Path.rename))
    return done


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(old: Path, steps: list[str]) -> None:
    write_bytes(old, b"new")
    assert steps == ["file", "rename", old.parent.name]


def test_a_new_folder_is_flushed_into_the_folder_above(tmp_path: Path, steps: list[str]) -> None:
    write_bytes(tmp_path / "a" / "b" / "file", b"new")
    assert steps == ["a", tmp_path.name, "file", "rename", "b"]


def test_a_linked_folder_is_flushed_before_it_is_renamed_and_the_one_above_after(
    tmp_path: Path, steps: list[str]
) -> None:
    for folder in ("source", "target"):
        (tmp_path / folder).mkdir()
    link_folder(tmp_path / "source", tmp_path / "target")
    new, *others = steps
    assert new.startswith(".target.")
    assert others == ["rename", "rename", tmp_path.name]


def test_a_file_system_that_cannot_flush_folders_will_do(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refusing(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(number)

    monkeypatch.setattr(os, "fsync", refusing)
    write_bytes(old, b"new")
    assert old.read_bytes() == b"new"


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


KILLED = """
import os, signal, sys
from pathlib import Path
from components.storage.atomic import link_folder

left = int(sys.argv[1])

def count(event, _):
    global left
    if event in {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.chmod"}:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
link_folder(Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_kill_at_any_moment_loses_no_folder(tmp_path: Path) -> None:
    """After the next call, though it fails too, the folder is the old one or the new one, whole."""
    whole = [{"a": "old", "b": "old"}, {"b": "new", "c": "new"}]
    source, seen = tmp_path / "source", []
    write_bytes(source / "b", b"new")
    write_bytes(source / "c", b"new")
    for moment in range(100):
        target = tmp_path / str(moment) / "target"
        for name, text in whole[0].items():
            write_bytes(target / name, text.encode())
        done = subprocess.run([sys.executable, "-c", KILLED, str(moment), source, target], check=False)
        with pytest.raises(FileNotFoundError):
            link_folder(tmp_path / "none", target)
        found = {path.name: path.read_text() for path in target.iterdir()}
        assert found in whole, f"killed before change {moment} of the disk"
        seen.append(whole.index(found))
        link_folder(source, target)
        assert {path.name: path.read_text() for path in target.iterdir()} == whole[1]
        if done.returncode == 0:
            break
    assert len(seen) > 8
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_folder_that_cannot_be_renamed_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "source" / "a", b"new")
    write_bytes(tmp_path / "target" / "a", b"old")
    rename = Path.rename

    def refuse_the_second(path: Path, target: Path) -> Path:
        if path.name != "target" and not path.name.endswith(".former"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_the_second)
    with pytest.raises(OSError, match="Input/output error"):
        link_folder(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target" / "a").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}
