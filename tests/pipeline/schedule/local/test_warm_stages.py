"""Stages in forks of the runner: what they leave, compared with `dvc repro`; failures, kills and requests to end."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from tests.conftest import environment_of
from tests.pipeline.conftest import Checkout, stages_run
from tests.pipeline.schedule.small_repository import PROGRAM, Run, ended, is_alive, killed_at_the_end, wait_for
from tests.small_profile import small_params

LONG_S = 1800.0
"""Longest time for all stages, on a machine that has much else to do."""
TIMED = ("evaluate", "choose", "report", "register")
"""Stages whose outputs have figures that a clock gave."""


def with_haar_hyper(finished: Checkout, folder: Path) -> Checkout:
    """A copy on the commit that the run began on, with a variant more that trains in two processes two ranks."""
    copy = finished.copy_to(folder)
    copy.run("git", "reset", "-q", "HEAD~1")
    copy.change_params(add_haar_hyper)
    return copy


def add_haar_hyper(document: dict[str, Any]) -> None:
    train = document["variants"]["wcae"]["train"]
    haar = small_params()["variants"]["haar_hyper"]
    haar["train"] |= {key: train[key] for key in ("validate_every", "validation_patches")} | {"steps": 6}
    document["variants"]["haar_hyper"] = haar
    document["resources"] = {"haar_hyper": {"workers": 2}}


@pytest.fixture
def root(finished: Checkout, tmp_path: Path) -> Path:
    """Such a checkout in which nothing has run."""
    made = with_haar_hyper(finished, tmp_path / "checkout")
    made.run("git", "clean", "-qdfX")
    (made.root / "dvc.lock").unlink()
    assert not (made.root / "data").exists()
    return made.root


def start(root: Path, *targets: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "2", "no", *targets],
        cwd=root, env=environment_of(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(root: Path, *targets: str) -> Run:
    process = start(root, *targets)
    with killed_at_the_end(process):
        return ended(process, LONG_S)


def forks_of(process: subprocess.Popen[str]) -> list[int]:
    """The stages of a run that are forks of it: each has a process of DVC as its parent."""
    runner = psutil.Process(process.pid)
    return [stage.pid for dvc in runner.children() for stage in dvc.children() if stage.cmdline() == runner.cmdline()]


def untimed(root: Path) -> dict[str, Any]:
    """What a run leaves that no clock has a part in: what dvc.lock says of stages, weights, the figures of pictures."""
    stages = YAML(typ="safe").load(root / "dvc.lock")["stages"]
    left = {name: each for name, each in stages.items() if not name.startswith(TIMED)}
    left |= {str(path.relative_to(root)): path.read_bytes() for path in (root / "models").rglob("*.safetensors")}
    for path in (root / "evaluation").glob("*/images.csv"):
        with path.open() as file:
            rows = [{key: each for key, each in row.items() if not key.endswith("_s")} for row in csv.DictReader(file)]
        left[str(path.relative_to(root))] = rows
    return left


def test_it_leaves_what_dvc_repro_leaves(root: Path, finished: Checkout, tmp_path: Path) -> None:
    """`finished` is a run of `dvc repro`, which here runs in addition what it lacks."""
    done = run(root)
    assert (done.status, done.error) == (0, "")
    assert set(done.ended.values()) == {"ran"}
    assert "fetch bundled-test: 2 pictures in " in (root / "work" / "logs" / "fetch@bundled-test.log").read_text()
    single = with_haar_hyper(finished, tmp_path / "single")
    ran = stages_run(single.dvc("repro", "evaluate@wcae", "evaluate@haar_hyper"))
    assert ran == ["train@haar_hyper", "calibrate@haar_hyper", "evaluate@haar_hyper"]
    left, expected = untimed(root), untimed(single.root)
    assert {"models/wcae/trained.safetensors", "models/haar_hyper/calibrated.safetensors"} <= expected.keys()
    assert {len(expected[f"evaluation/{name}/images.csv"]) > 3 for name in ("wcae", "haar_hyper", "jpeg")} == {True}
    assert left == expected


def test_a_failure_is_told_in_its_own_words(root: Path) -> None:
    shutil.rmtree(root / "pictures" / "bundled-calibration")
    done = run(root, "train@wcae")
    assert done.ended["fetch@bundled-calibration"] == "failed"
    assert "bundled-calibration" in done.why["fetch@bundled-calibration"]
    assert "exited with" not in done.why["fetch@bundled-calibration"]


def test_a_killed_training_and_one_that_is_asked_to_end(root: Path) -> None:
    """Once in a fork, and gone on with in a fork."""
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("steps: 6\n", "steps: 100000\n"))
    for number, result in ((signal.SIGKILL, "failed"), (signal.SIGINT, "stopped")):
        (root / "dvc.lock").unlink(missing_ok=True)  # so that there is more than the training to look at
        process = start(root, "train@haar_hyper")
        with killed_at_the_end(process):
            wait_for((root / "work" / "logs" / "train@haar_hyper.progress").exists, "the training begins", LONG_S)
            (stage,) = forks_of(process)
            os.kill(stage if number == signal.SIGKILL else process.pid, number)
            done = ended(process, LONG_S)
        assert done.ended["train@haar_hyper"] == result
        assert not is_alive(stage)
    assert list(root.rglob("state.safetensors"))
