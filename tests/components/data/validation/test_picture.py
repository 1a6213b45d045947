import os
from pathlib import Path

import numpy as np
import pytest

from components.data.manifest import FetchedFile
from components.data.validation import picture as module
from components.data.validation.picture import Picture, measure_all
from components.errors import ImageError
from tests.components.data.validation.made import bundled, files_of, png


@pytest.fixture
def files(tmp_path: Path) -> list[FetchedFile]:
    return files_of(tmp_path / "raw", {name: png(bundled(name)) for name in ("chelsea.png", "coffee.png")})


def measure_here(folder: Path, files: list[FetchedFile]) -> list[Picture]:
    return measure_all(folder / "raw", files, folder / "cache", threads=2)


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "cache").rglob("*.npz"))


def same(one: Picture, other: Picture) -> bool:
    arrays = ((each.thumbnail, each.local.points, each.local.descriptors) for each in (one, other))
    facts = [(each.path, each.sha256, each.pixels_sha256, each.features) for each in (one, other)]
    return facts[0] == facts[1] and all(np.array_equal(*both) for both in zip(*arrays, strict=True))


def test_a_measured_picture_is_not_decoded_again(tmp_path: Path, files: list[FetchedFile]) -> None:
    first = measure_here(tmp_path, files)
    for path in (tmp_path / "raw").iterdir():
        path.write_bytes(b"")
    assert all(same(*both) for both in zip(first, measure_here(tmp_path, files), strict=True))


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped bit", "other picture", "pickle"])
def test_a_damaged_cache_is_measured_anew(tmp_path: Path, files: list[FetchedFile], damage: str) -> None:
    first = measure_here(tmp_path, files)
    path, other = kept(tmp_path)
    content = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped bit":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "other picture":
        path.write_bytes(other.read_bytes())
    else:
        with path.open("wb") as file:
            np.savez(file, facts=np.array([{}], dtype=object))
    assert all(same(*both) for both in zip(first, measure_here(tmp_path, files), strict=True))
    assert path.read_bytes() == content


def test_a_cache_of_an_earlier_version_is_measured_anew(
    tmp_path: Path, files: list[FetchedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_here(tmp_path, files)
    before = kept(tmp_path)[0].read_bytes()
    monkeypatch.setattr(module, "_FORMAT", 0)
    measure_here(tmp_path, files)
    assert kept(tmp_path)[0].read_bytes() != before


def test_a_file_that_can_no_longer_be_decoded_is_an_error(tmp_path: Path, files: list[FetchedFile]) -> None:
    os.truncate(tmp_path / "raw" / "coffee.png", 1000)
    with pytest.raises(ImageError, match="cannot be decoded"):
        measure_here(tmp_path, files)
    assert len(kept(tmp_path)) <= 1


def test_the_width_is_known_without_decoding(tmp_path: Path) -> None:
    shapes = ((700, 433), (433, 700), (512, 512), (30, 20), (1500, 1))
    contents = {f"{h}x{w}.png": png(np.zeros((h, w, 3), np.uint8)) for h, w in shapes}
    files = files_of(tmp_path / "raw", contents)
    for picture in measure_here(tmp_path, files):
        assert picture.grey_width == picture.grey.shape[1]
        assert max(picture.grey.shape) <= module.SIDE


def test_progress_counts_pictures(tmp_path: Path, files: list[FetchedFile]) -> None:
    said: list[tuple[int, int]] = []
    measure_all(tmp_path / "raw", files, tmp_path / "cache", threads=1, progress=lambda *counts: said.append(counts))
    assert said == [(1, 2), (2, 2)]
