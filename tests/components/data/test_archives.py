import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from components.data.archives import is_archive, unpack
from components.errors import SourceError

FILES = {"a.txt": b"first", "sub/b.bin": bytes(range(256)) * 20, "sub/deep/c": b""}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    mode = "w:gz" if path.name.endswith(("gz", "tgz")) else "w:xz" if path.name.endswith("xz") else "w"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return path


def make(path: Path, files: dict[str, bytes]) -> Path:
    return (make_zip if path.suffix == ".zip" else make_tar)(path, files)


def refused(archive: Path, match: str, *, max_bytes: int = 1 << 20, max_files: int = 100) -> None:
    """It is refused in one line, and nothing is left of it."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(SourceError, match=match) as caught:
        unpack(archive, archive.parent / "into", max_bytes=max_bytes, max_files=max_files)
    assert "\n" not in str(caught.value)
    assert archive.name in str(caught.value)
    assert sorted(archive.parent.rglob("*")) == before


KINDS = ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.xz"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    assert is_archive(kind)
    archive = make(tmp_path / kind, FILES)
    into = tmp_path / "into"
    (into / "stale").mkdir(parents=True)
    paths = unpack(archive, into, max_bytes=1 << 20, max_files=10)
    assert {path.relative_to(into).as_posix(): path.read_bytes() for path in paths} == FILES
    assert sorted(tmp_path.iterdir()) == sorted([archive, into])
    assert not (into / "stale").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../evil", "sub/../../evil", "/tmp/evil-ratewright", "..\\evil", "C:/evil"])
def test_no_path_leaves_the_folder(tmp_path: Path, kind: str, name: str) -> None:
    refused(make(tmp_path / kind, {"fine": b"1", name: b"2"}), "outside")
    assert not (tmp_path.parent / "evil").exists()
    assert not Path("/tmp/evil-ratewright").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_link_or_device(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("odd")
    info.type = kind
    info.linkname = "fine"
    refused(make_tar(tmp_path / "x.tar", {"fine": b"1"}, info), "link or a device")


def test_a_zip_with_a_link(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("odd")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "x.zip", "link or a device")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb(tmp_path: Path, kind: str) -> None:
    archive = make(tmp_path / kind, {"zeros": bytes(1 << 20)})
    refused(archive, "unpacks to more than 1048575 bytes", max_bytes=(1 << 20) - 1)
    assert unpack(archive, tmp_path / "into", max_bytes=1 << 20, max_files=1)


def test_a_bomb_in_a_tars_header(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x.tar.gz", {"x" * (8 << 20): b""})
    assert archive.stat().st_size < 100_000
    refused(archive, "unpacks to more than", max_bytes=1000, max_files=10)


def test_a_zip_that_claims_less_than_it_holds(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"zeros": bytes(1 << 20)})
    true_size, claimed = (1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(true_size, claimed))
    refused(archive, "cannot be unpacked", max_bytes=1000)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_files(tmp_path: Path, kind: str) -> None:
    archive = make(tmp_path / kind, {str(i): b"" for i in range(11)})
    refused(archive, "more than 10 members", max_files=10)


@pytest.mark.parametrize("kind", KINDS)
def test_broken(tmp_path: Path, kind: str) -> None:
    archive = make(tmp_path / kind, {"noise": os.urandom(100_000)})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    refused(archive, "cannot be unpacked")
    archive.write_bytes(b"<html>not found</html>")
    refused(archive, "cannot be unpacked")
    if kind != "x.tar":  # a tar has no checksum of its contents
        archive.write_bytes(whole[:50_000] + bytes([whole[50_000] ^ 1]) + whole[50_001:])
        refused(archive, "cannot be unpacked")


def test_two_files_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("same", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("same", b"2")
    refused(tmp_path / "x.zip", "cannot be unpacked")


def test_a_missing_archive(tmp_path: Path) -> None:
    refused(tmp_path / "x.zip", "cannot be unpacked")
