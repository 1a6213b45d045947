import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.errors import RatewrightError
from components.storage.atomic import read_json
from pipeline.documents import Passed, Verdict, read
from pipeline.registry import measured_sets
from pipeline.registry.client import TrackingError
from pipeline.stages import validate
from tests.components.data.validation.made import bundled, leak
from tests.data_sets import write_data_set
from tests.small_profile import small_params

TRAIN = ("rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg", "ihc.png", "grass.png", "camera.png")
SETS = {
    "bundled-train": TRAIN,
    "bundled-calibration": ("coffee.png",),
    "bundled-test": ("astronaut.png", "chelsea.png"),
}
PATIENCE_S = 120.0

pytestmark = [
    pytest.mark.usefixtures("own_mlflow"),
    pytest.mark.filterwarnings("ignore"),  # of MLflow and its dependencies
]


class Checkout:
    """A folder with the files that the stage reads."""

    def __init__(self, root: Path):
        self.root = root
        self.rules()
        for name, pictures in SETS.items():
            self.write(name, [bundled(picture) for picture in pictures])

    def write(self, name: str, pictures: Sequence[Rgb]) -> None:
        write_data_set(self.root / "data" / "raw" / name, pictures)

    def rules(self, **changes: dict[str, Any]) -> None:
        document = small_params()
        document["validation"] |= changes
        with (self.root / "params.yaml").open("w") as file:
            YAML().dump(document, file)

    def validate(self, *arguments: str) -> Verdict:
        name = arguments[-1] if arguments else "bundled-train"
        validate.run(self.root, *(arguments or ("bundled-train",)))
        assert read(Passed, self.out(name) / "passed.json").name == name
        return self.verdict(name)

    def refused(self, *arguments: str) -> str:
        with pytest.raises(RatewrightError) as refused:
            self.validate(*arguments)
        name = arguments[-1] if arguments else "bundled-train"
        assert not (self.out(name) / "passed.json").exists()
        assert not self.verdict(name).passed
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def verdict(self, name: str = "bundled-train") -> Verdict:
        return read(Verdict, self.out(name) / "verdict.json")

    def out(self, name: str) -> Path:
        return self.root / "data" / "validation" / name


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def train() -> list[Rgb]:
    return [bundled(name) for name in TRAIN]


def test_sets_that_have_nothing_in_common_pass(checkout: Checkout) -> None:
    verdict = checkout.validate()
    assert verdict.passed
    assert (verdict.findings, verdict.leaks, verdict.duplicates) == ((), (), ())
    assert {name: (found.role, found.statistics.pictures) for name, found in verdict.sets.items()} == {
        "bundled-train": ("training", 6),
        "bundled-calibration": ("calibration", 1),
        "bundled-test": ("test", 2),
    }
    page = (checkout.out("bundled-train") / "index.html").read_text()
    assert "No rule is broken." in page
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize("held_out", ["astronaut.png", "coffee.png"])
def test_a_poisoned_update_stops_the_run(checkout: Checkout, train: list[Rgb], held_out: str) -> None:
    """An operator's source got a picture of the test or calibration set, mirrored, scaled and cropped."""
    checkout.validate()
    checkout.write("bundled-train", [*train, leak(bundled(held_out), flip=True, scale=0.6, crop=0.8)])
    owner, number = ("bundled-test", 0) if held_out == "astronaut.png" else ("bundled-calibration", 0)
    said = checkout.refused()
    assert said.startswith(
        f"validate bundled-train: leak: bundled-train: 1 pair of pictures of {owner} in it: "
        f"6.png shows a part of {number}.png (see "
    )
    assert "`validation` in params.yaml has the rules" in said
    page = (checkout.out("bundled-train") / "index.html").read_text()
    assert "the data stops the training" in page
    checkout.write("bundled-train", train)
    assert checkout.validate().passed


def test_a_leak_may_be_a_warning_and_may_be_off(
    checkout: Checkout, train: list[Rgb], caplog: pytest.LogCaptureFixture
) -> None:
    checkout.write("bundled-train", [*train, bundled("chelsea.png")])
    checkout.rules(leak={"action": "warn"})
    caplog.set_level("WARNING", "pipeline")
    assert [finding.rule for finding in checkout.validate().findings] == ["leak"]
    assert caplog.messages == [
        "validate bundled-train: leak: bundled-train: 1 pair of pictures of bundled-test in it: 6.png is 1.png"
    ]
    caplog.clear()
    checkout.rules(leak={"action": "off"})
    assert checkout.validate().findings == ()
    assert caplog.messages == []


def test_a_fine_tuned_variant_may_know_the_calibration_set_but_not_the_test_set(checkout: Checkout) -> None:
    pictures = [bundled("coffee.png"), bundled("rocket.jpg")]
    checkout.write("bundled-fine-tune", pictures)
    verdict = checkout.validate("bundled-fine-tune", "cnn_ae_ft")
    assert verdict.passed
    assert list(verdict.sets) == ["bundled-fine-tune", "bundled-test"]
    checkout.write("bundled-fine-tune", [*pictures, leak(bundled("chelsea.png"), crop=0.7)])
    assert "2.png shows a part of 1.png" in checkout.refused("bundled-fine-tune", "cnn_ae_ft")


def test_duplicates_are_told_in_sets_and_between_calibration_and_test(checkout: Checkout, train: list[Rgb]) -> None:
    checkout.write("bundled-train", [*train, leak(bundled("rocket.jpg"), scale=0.7, turns=1)])
    checkout.write("bundled-calibration", [bundled("astronaut.png")])
    verdict = checkout.validate()
    pairs = [(pair.first_set, pair.first, pair.second_set, pair.second, pair.how) for pair in verdict.duplicates]
    assert pairs == [
        ("bundled-train", "0.png", "bundled-train", "6.png", "near"),
        ("bundled-calibration", "0.png", "bundled-test", "0.png", "file"),
    ]
    checkout.rules(duplicate={"action": "fail"})
    assert "1 pair of equal pictures: 0.png shows 6.png; duplicate: " in checkout.refused()


def test_a_source_that_turned_grey_is_told_against_the_last_revision(checkout: Checkout, train: list[Rgb]) -> None:
    checkout.validate()
    assert all(found.drift is None for found in checkout.verdict().sets.values()), "nothing was measured before"
    grey = [np.repeat(rgb.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2) for rgb in train]
    checkout.write("bundled-train", grey)
    checkout.rules(drift={"action": "warn", "distance": 0.2, "changed": 0.5})
    verdict = checkout.validate()
    assert [finding.rule for finding in verdict.findings] == ["grey", "drift"]
    moved = verdict.sets["bundled-train"].drift
    assert moved is not None
    assert moved.replaced == 4
    assert verdict.sets["bundled-test"].drift is None
    assert checkout.validate().sets["bundled-train"].drift == moved, "the second run compares with the same revision"


def test_a_set_that_was_refused_is_none_to_compare_the_next_one_with(checkout: Checkout, train: list[Rgb]) -> None:
    checkout.validate()
    checkout.write("bundled-train", [*train, bundled("chelsea.png")])
    checkout.refused()
    checkout.write("bundled-train", train[:5])
    moved = checkout.validate().sets["bundled-train"].drift
    assert moved is not None
    assert (moved.pictures_before, moved.removed) == (6, 1)


def test_without_drift_mlflow_is_not_asked(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1"):
        checkout.validate()
    checkout.rules(drift={"action": "off"})
    assert checkout.validate().passed


def test_sets_of_one_picture_and_odd_pictures_are_checked(checkout: Checkout) -> None:
    checkout.write("bundled-train", [np.zeros((1, 1, 3), np.uint8)])
    checkout.write("bundled-test", [np.full((40, 3, 3), 255, np.uint8)])
    verdict = checkout.validate()
    assert {(finding.rule, finding.data_set) for finding in verdict.findings} == {
        ("small", "bundled-train"), ("grey", "bundled-train"), ("flat", "bundled-train"),
        ("small", "bundled-test"), ("grey", "bundled-test"), ("flat", "bundled-test"),
    }  # fmt: skip


def test_the_verdict_repeats_without_its_cache(checkout: Checkout) -> None:
    files = ("verdict.json", "sheet.png", "index.html", "passed.json")
    checkout.validate()
    first = [(checkout.out("bundled-train") / name).read_bytes() for name in files]
    shutil.rmtree(checkout.root / "work")
    checkout.validate()
    assert [(checkout.out("bundled-train") / name).read_bytes() for name in files] == first


def test_a_licence_that_is_missing_is_told(checkout: Checkout) -> None:
    document = small_params()
    del document["datasets"]["bundled-test"]["licence"]
    with (checkout.root / "params.yaml").open("w") as file:
        YAML().dump(document, file)
    assert [(finding.rule, finding.data_set) for finding in checkout.validate().findings] == [
        ("licence", "bundled-test")
    ]


def test_a_set_that_was_not_fetched_is_an_error(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / "data" / "raw" / "bundled-test")
    with pytest.raises(RatewrightError, match="no data set here"):
        checkout.validate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_stage_goes_on_with_what_it_measured(checkout: Checkout, train: list[Rgb]) -> None:
    cache = checkout.root / "work" / "validate" / "pictures"
    checkout.write("bundled-train", [leak(rgb, scale=2.5) for rgb in train])
    command = [sys.executable, "-m", "pipeline.stages.validate", "bundled-train"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    stage = subprocess.Popen(command, cwd=checkout.root, env=environment)
    wait_until(lambda: any(cache.rglob("*.npz")))
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    assert not (checkout.out("bundled-train") / "passed.json").exists()
    measured = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npz")}
    assert checkout.validate().passed
    assert {path: path.stat().st_mtime_ns for path in measured} == measured
    assert len(list(cache.rglob("*.npz"))) == 9
    shutil.rmtree(checkout.root / "work")
    before = read_json(checkout.out("bundled-train") / "verdict.json")
    checkout.validate()
    assert read_json(checkout.out("bundled-train") / "verdict.json") == before


def test_mlflow_has_the_figures_of_each_revision_once(checkout: Checkout, train: list[Rgb]) -> None:
    checkout.validate()
    checkout.validate()
    from pipeline.registry.client import client, experiment_id

    found = client(checkout.root)
    runs = found.search_runs([experiment_id(found)])
    assert sorted(run.data.tags[measured_sets.NAME_TAG] for run in runs) == sorted(SETS)
    run = next(run for run in runs if run.data.tags[measured_sets.NAME_TAG] == "bundled-train")
    assert run.data.metrics["pictures"] == len(train)
    assert run.inputs is not None
    assert run.inputs.dataset_inputs[0].dataset.name == "bundled-train"
    before = measured_sets.previous(checkout.root, "bundled-train", "another")
    assert before is not None
    assert before.content == checkout.verdict().sets["bundled-train"].content
    assert measured_sets.previous(checkout.root, "bundled-train", before.content) is None
