"""One finished run of the pipeline, made once for all workers of a test session."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.data.image_files import encode_png
from components.storage.atomic import read_json
from tests.conftest import environment_of, make_clone
from tests.forks import Forks, forks

SETS = {"bundled-train": slice(0, 8), "bundled-calibration": slice(6, 8), "bundled-test": slice(0, 2)}
"""Which of `photographs` each data set has."""
TARGET_BPP, TOLERANCE = 0.3, 0.05
"""A rate that JPEG reaches on pictures this small, and how far below it a calibration may stay, as a share."""


@dataclass(frozen=True)
class Checkout:
    """A repository of the pipeline, and the environment that its commands run in."""

    root: Path
    environment: dict[str, str]

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """The output of a command; one that fails fails the test, which shows what it said."""
        done = subprocess.run(
            command, cwd=cwd or self.root, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ratewright(self, *commands: tuple[str, ...], cwd: Path | None = None) -> str:
        """The output of commands of `ratewright`, one after another in one process."""
        program = "import sys; from pipeline.cli import app\n"
        program += "".join(f"app({list(command)!r}, standalone_mode=False)\n" for command in commands)
        return self.run(sys.executable, "-c", program, cwd=cwd)

    def dvc(self, *arguments: str) -> str:
        """What a command of DVC and the stages that it ran said."""
        return self.run("sh", "-c", 'exec dvc "$@" 2>&1', "dvc", *arguments)

    def forks(self, *imports: str) -> AbstractContextManager[Forks]:
        """Programs in processes of their own that start fast, as they find these modules imported."""
        return forks(self.root, self.environment, imports)

    def read(self, path: str) -> Any:
        """A JSON file of the run."""
        return read_json(self.root / path)

    def change_params(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Rewrite params.yaml."""
        yaml = YAML()
        document = yaml.load(self.root / "params.yaml")
        change(document)
        yaml.dump(document, self.root / "params.yaml")

    def copy_to(self, folder: Path) -> "Checkout":
        """The same repository in another folder, with its data and what DVC keeps."""
        shutil.copytree(self.root, folder, symlinks=True)
        return Checkout(folder, {**self.environment, "PYTHONPATH": str(folder)})


def stages_run(said: str) -> list[str]:
    """The stages whose commands DVC ran, from what `dvc repro` said."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]


@pytest.fixture
def own_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No tracking URI from outside, and none left behind: MLflow keeps it in the environment too."""
    variables = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    yield
    for name in variables:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def finished(photographs: list[Rgb], tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The repository after `dvc repro`, committed: wcae and JPEG on small pictures. Who changes it takes a copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker's folder lies in the session's
        shared = shared.parent
    root, made = shared / "finished", shared / "finished.made"
    with FileLock(shared / "finished.lock"):
        if not made.exists():
            make_clone(root)
            checkout = Checkout(root, environment_of(root))
            write_pictures(root / "pictures", photographs)
            checkout.change_params(on_small_pictures)
            checkout.dvc("repro")
            checkout.run("git", "add", "-A")
            checkout.run("git", "commit", "-q", "-m", "a run")
            made.touch()
    return Checkout(root, environment_of(root))


def write_pictures(folder: Path, photographs: list[Rgb]) -> None:
    """Write the pictures of each data set into a folder of its name."""
    for name, chosen in SETS.items():
        (folder / name).mkdir(parents=True)
        for number, rgb in enumerate(photographs[chosen]):
            (folder / name / f"{number}.png").write_bytes(encode_png(rgb))


def on_small_pictures(document: dict[str, Any]) -> None:
    """Change params so that one variant is trained and measured on the pictures of `write_pictures`."""
    document["datasets"] = {name: {"source": f"pictures/{name}"} for name in SETS}
    document["baselines"], document["target_bpp"] = ["jpeg"], TARGET_BPP
    document["variants"], document["efforts"] = {"wcae": document["variants"]["wcae"]}, {}
    document["shards"] |= {"patch": 64, "train_share": 0.6}
