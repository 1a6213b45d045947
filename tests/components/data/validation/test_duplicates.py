from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.validation.duplicates import Pair, across, leaks, within
from components.data.validation.picture import Picture
from tests.components.data.validation.made import TEST, TRAINING, bundled, jpeg, leak, measured, png

MADE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "smaller": {"scale": 0.3},
    "larger": {"scale": 1.5},
    "mirrored": {"flip": True},
    "turned": {"turns": 1},
    "mirrored and turned": {"flip": True, "turns": 3},
    "cropped": {"crop": 0.5},
    "cropped and smaller": {"crop": 0.7, "scale": 0.5},
    "cropped, mirrored and larger": {"crop": 0.6, "flip": True, "scale": 1.4},
    "cropped, mirrored, turned and smaller": {"crop": 0.8, "flip": True, "turns": 1, "scale": 0.6},
}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return measured(tmp_path_factory.mktemp("training"), {name: png(bundled(name)) for name in TRAINING})


@pytest.fixture(scope="module")
def test_set(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return measured(tmp_path_factory.mktemp("test"), {name: png(bundled(name)) for name in TEST})


def test_different_pictures_are_no_leak(training: list[Picture], test_set: list[Picture]) -> None:
    assert leaks(training, test_set, threads=2) == []
    assert within([*training, *test_set]) == []


@pytest.mark.parametrize("quality", [30, 75])
@pytest.mark.parametrize("how", MADE)
def test_a_test_picture_in_the_training_data_is_a_leak(
    training: list[Picture], test_set: list[Picture], how: str, quality: int, tmp_path: Path
) -> None:
    made = {f"{name}.jpg": jpeg(leak(bundled(name), **MADE[how]), quality) for name in TEST}
    found = leaks([*training, *measured(tmp_path, made)], test_set, threads=2)
    places = [(pair.first, pair.second) for pair in found]
    assert places == [(len(TRAINING) + number, number) for number in range(len(TEST))]
    assert all(pair.correlation > 0.8 for pair in found)


def test_one_known_picture_is_enough(training: list[Picture], test_set: list[Picture], tmp_path: Path) -> None:
    """There is no unrelated picture then, whose features tell how near a match must be."""
    assert leaks(training, test_set[1:2], threads=1) == []
    made = measured(tmp_path, {"crop.jpg": jpeg(leak(bundled("chelsea.png"), crop=0.6, flip=True), 60)})
    assert [pair.how for pair in leaks(made, test_set[1:2], threads=1)] == ["part"]


def test_a_picture_that_is_held_out_twice_is_a_leak_of_both(test_set: list[Picture], tmp_path: Path) -> None:
    made = measured(tmp_path, {"crop.png": png(leak(bundled("astronaut.png"), crop=0.6))})
    found = leaks(made, [*test_set, *test_set], threads=1)
    assert [(pair.first, pair.second) for pair in found] == [(0, 0), (0, 3)]


def test_equal_pixels_and_equal_files_are_told_apart(test_set: list[Picture], tmp_path: Path) -> None:
    rgb = bundled("astronaut.png")
    other = measured(tmp_path, {"a.png": png(rgb), "b.jpg": jpeg(rgb, 95), "c.png": png(rgb) + b"\n"})
    found = across(other, test_set)
    assert [pair.how for pair in found] == ["file", "near", "pixels"]
    assert {pair.second for pair in found} == {0}
    assert within([test_set[0], test_set[0]]) == [Pair(0, 1, "file", 1.0)]


def test_tiny_pictures_are_compared_whole(tmp_path: Path) -> None:
    """They have no local features: those of 32x32 are CIFAR-10's size."""
    small = {name: leak(bundled(name), scale=32 / bundled(name).shape[0]) for name in (*TRAINING, *TEST)}
    one = measured(tmp_path / "one", {f"{name}.png": png(rgb) for name, rgb in small.items()})
    mirrored = {f"{name}.png": png(np.ascontiguousarray(rgb[:, ::-1])) for name, rgb in small.items()}
    found = leaks(one, measured(tmp_path / "other", mirrored), threads=1)
    assert [(pair.first, pair.second, pair.how) for pair in found] == [(n, n, "near") for n in range(len(small))]


def test_blank_pictures_and_no_pictures_show_nothing(test_set: list[Picture], tmp_path: Path) -> None:
    blank = measured(
        tmp_path, {"a.png": png(np.full((90, 90, 3), 3, np.uint8)), "b.png": png(np.full((9, 9, 3), 9, np.uint8))}
    )
    assert leaks(blank, test_set, threads=1) == []
    assert leaks(test_set, blank, threads=1) == []
    assert within(blank) == []
    assert leaks([], test_set, threads=1) == leaks(test_set, [], threads=1) == []
