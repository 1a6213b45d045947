"""One finished run of the pipeline, made once for all workers of a test session."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
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


IMPORTS = (
    "alembic.command",
    "cv2",
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.daemon",
    "dvc.data_cloud",
    "dvc.lock",
    "dvc.repo.reproduce",
    "dvc.scm",
    "dvc_render",
    "dulwich.worktree",
    "filelock",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "networkx",
    "platformdirs",
    "pygit2",
    "rich.live",
    "rich.progress",
    "ruamel.yaml",
    "safetensors.torch",
    "typer",
    "zc.lockfile",
)
"""Of other projects what takes long to import."""


@dataclass(frozen=True)
class Checkout:
    """A repository of the pipeline, and the environment that its commands run in."""

    root: Path
    environment: dict[str, str]
    python: Forks

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """The output of a command; one that fails fails the test, which shows what it said."""
        done = subprocess.run(
            command, cwd=cwd or self.root, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def module(self, *arguments: str, cwd: Path | None = None, **variables: str) -> str:
        """What a Python module said; one that fails fails the test, which shows it."""
        return self.python.well(*arguments, cwd=cwd or self.root, environment={**self.environment, **variables})

    def ratewright(self, *arguments: str, cwd: Path | None = None, **variables: str) -> str:
        """What a command of `ratewright` said."""
        return self.module("pipeline.cli", *arguments, cwd=cwd, **variables)

    def refused(self, *arguments: str) -> str:
        """What a command of `ratewright` said that ended as one does for a mistake."""
        done = self.python("pipeline.cli", *arguments, cwd=self.root, environment=self.environment)
        assert done.returncode == 2, done.stderr.decode()
        return done.stderr.decode()

    def dvc(self, *arguments: str) -> str:
        """What a command of DVC and the stages that it ran said."""
        return self.module("dvc", *arguments)

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
        return Checkout(folder, {**self.environment, "PYTHONPATH": str(folder)}, self.python)


def stages_run(said: str) -> list[str]:
    """The stages whose commands DVC ran, from what `dvc repro` said."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take it a second to make."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    store = SqlAlchemyStore(f"sqlite:///{path}", path.with_name("mlartifacts").as_uri())  # type: ignore[no-untyped-call]
    store.engine.dispose()
    return path


@pytest.fixture
def own_mlflow(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No tracking URI from outside, and none left behind: MLflow keeps it in the environment too.

    The test's folder has a database.
    """
    shutil.copy(empty_database, tmp_path)
    variables = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    yield
    for name in variables:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Processes that have imported what takes long, and nothing of the project; they know of no settings."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "NO_ALBUMENTATIONS_UPDATE": "1", "OMP_NUM_THREADS": "1"}
    environment = environment_of(tmp_path_factory.getbasetemp()) | quiet
    del environment["PYTHONPATH"]
    with forks(environment, IMPORTS) as python:
        yield python


@pytest.fixture(scope="session")
def finished(photographs: list[Rgb], python: Forks, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The repository after `dvc repro`, committed: wcae and JPEG on small pictures. Who changes it takes a copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker's folder lies in the session's
        shared = shared.parent
    root, made = shared / "finished", shared / "finished.made"
    with FileLock(shared / "finished.lock"):
        if not made.exists():
            make_clone(root)
            checkout = Checkout(root, environment_of(root), python)
            write_pictures(root / "pictures", photographs)
            checkout.change_params(on_small_pictures)
            checkout.dvc("repro")
            checkout.run("git", "add", "-A")
            checkout.run("git", "commit", "-q", "-m", "a run")
            made.touch()
    return Checkout(root, environment_of(root), python)


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
    document["validation"]["leak"] = {"action": "warn"}  # all sets have the same few pictures
