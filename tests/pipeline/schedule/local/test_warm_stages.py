"""Stages in forks of the runner: what they leave, compared with `dvc repro`; failures, kills and requests to end."""

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

from components.arrays import Rgb
from tests.conftest import environment_of, make_clone
from tests.pipeline.conftest import on_small_pictures, write_pictures
from tests.pipeline.schedule.small_repository import PROGRAM, Run, ended, is_alive, killed_at_the_end, wait_for

LONG_S = 1800.0
"""Longest time for all stages, on a machine that has much else to do."""
TIMED = ("evaluate", "choose", "report", "register")
"""Stages whose outputs have figures that a clock gave."""


def checkout(root: Path, photographs: list[Rgb]) -> Path:
    """A checkout of two small variants, one of which trains in two processes two ranks."""
    make_clone(root)
    write_pictures(root / "pictures", photographs)
    yaml = YAML()
    document = yaml.load(root / "params.yaml")
    every = yaml.load(root / "profiles" / "small.yaml")["variants"]
    train = document["variants"]["wcae"]["train"]
    on_small_pictures(document)
    haar = every["haar_hyper"]
    haar["train"] |= {key: train[key] for key in ("steps", "validate_every", "validation_patches")}
    document["variants"]["haar_hyper"] = haar
    document["resources"] = {"wcae": {"workers": 2}}
    yaml.dump(document, root / "params.yaml")
    return root


@pytest.fixture(scope="module")
def made(photographs: list[Rgb], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("made") / "checkout", photographs)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "checkout", symlinks=True)


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
    """What a run leaves that no clock has a part in."""
    stages = YAML(typ="safe").load(root / "dvc.lock")["stages"]
    metrics = (root / "evaluation").rglob("curve.csv")
    return {name: each for name, each in stages.items() if not name.startswith(TIMED)} | {
        str(path.relative_to(root)): path.read_bytes() for path in (*(root / "models").rglob("*.safetensors"), *metrics)
    }


def test_it_leaves_what_dvc_repro_leaves(made: Path, root: Path, tmp_path: Path) -> None:
    single = shutil.copytree(made, tmp_path / "single", symlinks=True)
    done = run(root)
    assert (done.status, done.error) == (0, "")
    assert set(done.ended.values()) == {"ran"}
    assert "fetch bundled-test: 2 pictures in " in (root / "work" / "logs" / "fetch@bundled-test.log").read_text()
    subprocess.run(["dvc", "repro", "-q"], cwd=single, env=environment_of(single), check=True, timeout=LONG_S)
    left = untimed(root)
    assert {"models/wcae/trained.safetensors", "models/haar_hyper/calibrated.safetensors"} <= left.keys()
    assert left == untimed(single)


def test_a_failure_is_told_in_its_own_words(root: Path) -> None:
    shutil.rmtree(root / "pictures" / "bundled-calibration")
    done = run(root, "train@wcae")
    assert done.ended["fetch@bundled-calibration"] == "failed"
    assert "bundled-calibration" in done.why["fetch@bundled-calibration"]
    assert "exited with" not in done.why["fetch@bundled-calibration"]


def test_a_killed_training_and_one_that_is_asked_to_end(root: Path) -> None:
    """Once in a fork, and gone on with in a fork."""
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("steps: 12\n", "steps: 100000\n"))
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
