"""The pipeline as its user runs it: a clone, `dvc repro`, `dvc repro` again, a changed parameter, a registered model.

Budgets are a few steps: what is tested is that everything runs, and that nothing runs without need.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Clone = tuple[Path, dict[str, str]]


def run(clone: Clone, *command: str, cwd: Path | None = None) -> str:
    """The command's output; a failure shows it."""
    folder, environment = clone
    done = subprocess.run(command, cwd=cwd or folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(new_clone: Callable[[], Clone]) -> Clone:
    """A checkout with the smallest budgets after one `dvc repro`, committed."""
    result = new_clone()
    run(result, "dvc", "repro")
    run(result, "git", "add", "-A")
    run(result, "git", "commit", "-q", "-m", "a run")
    return result


def stages_run(output: str) -> list[str]:
    """The stages whose commands `dvc repro` ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_stage_leaves_what_it_promises(clone: Clone) -> None:
    folder, _ = clone
    board = read(folder / "leaderboard.json")
    assert {row["name"] for row in board["rows"]} == {"wcae", "nowcae", "jpeg", "webp"}
    assert board["winner"] in ("wcae", "nowcae")
    for name in ("wcae", "nowcae"):
        calibration = read(folder / "models" / name / "calibration.json")
        assert 0.95 * 0.15 <= calibration["bpp"] <= 0.15
        metrics = read(folder / "evaluation" / name / "metrics.json")
        point = metrics["test_sets"]["bundled-test"]["at_target"]
        assert 0.95 * 0.15 <= point["bpp"] <= 0.15
        assert point["bpp"] == pytest.approx(8 * point["bytes"] / point["pixels"])
    registered = read(folder / "registry.json")
    assert registered["decision"] == "promoted"
    assert registered["aliases"]["champion"] == registered["version"] == "1"
    page = (folder / "report" / "index.html").read_text()
    assert board["winner"] in page


def test_a_second_run_runs_register_alone_and_changes_nothing(clone: Clone) -> None:
    folder, _ = clone
    before = (folder / "registry.json").read_bytes()
    assert stages_run(run(clone, "dvc", "repro")) == ["register"]
    assert (folder / "registry.json").read_bytes() == before
    assert run(clone, "git", "status", "--porcelain") == ""


def test_a_changed_variant_runs_its_own_stages_and_what_follows(clone: Clone) -> None:
    folder, _ = clone
    output = run(clone, "dvc", "exp", "run", "-S", "variants.wcae.train.steps=8")
    assert stages_run(output) == ["train@wcae", "calibrate@wcae", "evaluate@wcae", "choose", "report", "register"]
    assert "wcae" in run(clone, "dvc", "metrics", "diff")
    history = (folder / "models" / "wcae" / "history.jsonl").read_text().splitlines()
    assert json.loads(history[-1])["step"] == 8


def test_the_champion_codes_a_photograph_from_another_folder(clone: Clone, tmp_path: Path) -> None:
    folder, _ = clone
    photo = tmp_path / "photo.png"
    with Image.open(folder / "data" / "raw" / "bundled-test" / "chelsea.png") as chelsea:
        chelsea.crop((0, 0, 301, 203)).save(photo)
    command = (sys.executable, "-c", "from pipeline.cli import main; main()")
    champion = "models:/image-codec-0.15bpp@champion"
    run(clone, *command, "compress", "photo.png", "photo.rw", "--model", champion, cwd=tmp_path)
    run(clone, *command, "decompress", "photo.rw", "back.png", cwd=tmp_path)
    with Image.open(tmp_path / "back.png") as back:
        assert back.size == (301, 203)
    assert "301x203" in run(clone, *command, "info", "photo.rw", cwd=tmp_path)
