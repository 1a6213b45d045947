from pathlib import Path

import numpy as np
import pytest

from components.data.validation.statistics import MeasuredSet, drift, ks_distance
from tests.components.data.validation.made import TEST, TRAINING, bundled, files_of, jpeg, measured, png

NAMES = (*TRAINING, *TEST)


def measured_set(folder: Path, contents: dict[str, bytes], revision: str | None) -> MeasuredSet:
    pictures, files = measured(folder, contents), files_of(folder, contents)
    return MeasuredSet.of("photographs", revision or "c" * 64, revision, pictures, files)


def test_the_distance_is_the_largest_difference_of_cumulative_distributions() -> None:
    first = np.array([1.0, 2.0, 3.0, 4.0])
    assert ks_distance(first, first) == 0
    assert ks_distance(first, first + 10) == 1
    assert ks_distance(first, np.array([2.5, 2.5])) == 0.5
    assert ks_distance(np.array([1.0]), first) == 0.75


def test_statistics_count_and_have_quantiles(tmp_path: Path) -> None:
    contents = {"chelsea.jpg": jpeg(bundled("chelsea.png"), 80), "coffee.png": png(bundled("coffee.png"))}
    found = measured_set(tmp_path, contents, None).statistics
    assert (found.pictures, found.jpegs, found.undecodable) == (2, 1, 0)
    assert found.pixels == 300 * 451 + 400 * 600
    assert found.quantiles["pixels"] == (135300, 140535, 161475, 187650, 213825, 234765, 240000)
    assert set(found.quantiles["jpeg_quality"]) == {80}


def test_a_set_without_jpegs_has_no_quality(tmp_path: Path) -> None:
    found = measured_set(tmp_path, {"coffee.png": png(bundled("coffee.png"))}, None)
    assert "jpeg_quality" not in found.statistics.quantiles
    assert "jpeg_quality" not in drift(found, found).distances
    assert MeasuredSet.model_validate_json(found.model_dump_json()) == found


def test_a_set_that_turned_grey_drifts(tmp_path: Path) -> None:
    colours = {name: png(bundled(name)) for name in NAMES}
    means = {name: bundled(name).mean(axis=2, keepdims=True).astype(np.uint8) for name in NAMES}
    grey = {name: png(np.repeat(mean, 3, axis=2)) for name, mean in means.items()}
    before = measured_set(tmp_path / "before", colours, "one")
    found = drift(measured_set(tmp_path / "now", grey, "two"), before)
    assert (found.added, found.removed, found.replaced) == (0, 0, 7)  # the camera man and grass were grey
    assert found.changed == pytest.approx(7 / 9, abs=1e-4)
    assert found.significant == ("grey", "colourfulness")
    assert found.distances["pixels"] == 0
    assert str(found).startswith("since revision one: 0 pictures added, 0 removed, 7 replaced; 78% changed")


def test_pictures_that_come_and_go_are_counted(tmp_path: Path) -> None:
    contents = {name: png(bundled(name)) for name in NAMES}
    before = measured_set(tmp_path / "before", contents, None)
    kept = {name: contents[name] for name in NAMES[2:]}
    found = drift(measured_set(tmp_path / "now", {**kept, "new.png": png(bundled("brick.png"))}, None), before)
    assert (found.added, found.removed, found.replaced, found.pictures_before) == (1, 2, 0, 9)
    assert found.significant == ()
    assert found.since == "c" * 12


def test_two_pictures_are_too_few_to_tell_drift_from_chance(tmp_path: Path) -> None:
    before = measured_set(tmp_path / "before", {"a.png": png(bundled("camera.png"))}, None)
    found = drift(measured_set(tmp_path / "now", {"a.png": png(bundled("coffee.png"))}, None), before)
    assert found.distances["colourfulness"] == 1
    assert found.significant == ()
    assert found.changed == 1
