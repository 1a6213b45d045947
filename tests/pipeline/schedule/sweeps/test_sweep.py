"""Sweeps of a pipeline of three quick stages, with real git and DVC: failures, kills, two sweeps at once."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.storage.atomic import write_json
from pipeline.schedule.git import Repository
from tests.conftest import environment_of
from tests.forks import Forks
from tests.pipeline.reporting.written_run import evaluation
from tests.small_profile import small_text

CHECKOUT = Path(__file__).resolve().parents[4]
RATES = "variants.wcae.train.learning_rate=0.001,0.002"
NAMES = ["wcae-learning_rate=0.001", "wcae-learning_rate=0.002"]
PATIENCE_S = 900.0

DVC_YAML = """\
stages:
  shard:
    cmd: exec python stage.py shard
    deps: [stage.py]
    params: [shards]
    outs: [data/shards]
  train:
    foreach: [wcae]
    do:
      cmd: exec python stage.py train
      deps: [stage.py, data/shards]
      params: ["variants.${item}.train"]
      outs: [models/wcae]
  evaluate:
    foreach: [wcae]
    do:
      cmd: exec python stage.py evaluate
      deps: [stage.py, models/wcae]
      params: [target_bpp]
      metrics: [evaluation/wcae/metrics.json]
"""

STAGE = '''\
"""A stage: it notes that it runs; a training waits, or fails, where a file says so, and goes on from its state."""
import ctypes, json, os, signal, sys, time
from pathlib import Path
from ruamel.yaml import YAML

ctypes.CDLL(None).prctl(1, signal.SIGTERM)
params = YAML(typ="safe").load(Path("params.yaml"))
rate, notes = params["variants"]["wcae"]["train"]["learning_rate"], Path(os.environ["NOTES"])
with (notes / "ran").open("a") as file:
    file.write(f"{sys.argv[1]} {rate} {os.environ['DVC_EXP_NAME']} {os.environ['MLFLOW_TRACKING_URI']}\\n")

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

if sys.argv[1] == "shard":
    write("data/shards/index.json", "shards")
elif sys.argv[1] == "train":
    began = Path("work/state").read_text() if Path("work/state").exists() else str(os.getpid())
    write("work/state", began)
    (notes / f"trains-{rate}").touch()
    while (notes / f"hold-{rate}").exists():
        time.sleep(0.05)
    if (notes / f"fail-{rate}").exists():
        print("a line of a log\\nerror: the loss is not finite", file=sys.stderr)
        raise SystemExit(2)
    write("models/wcae/trained", f"{rate} {began}")
else:
    measured = json.loads(Path("measured.json").read_text())
    measured["test_sets"]["bundled-test"]["at_target"]["psnr_db"] = 20 + 1000 * rate
    write("evaluation/wcae/metrics.json", json.dumps(measured))
'''


@dataclass
class Checkout:
    """A repository of the quick pipeline, and a folder in which its stages note what they do."""

    root: Path
    notes: Path
    python: Forks

    @property
    def environment(self) -> dict[str, str]:
        return {**environment_of(CHECKOUT), "NOTES": str(self.notes)}

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "pipeline.cli", "sweep", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.root, env=self.environment, text=True, stdout=pipe, stderr=pipe)

    def sweep(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """What a sweep said on standard output and on standard error."""
        done = self.python("pipeline.cli", "sweep", *arguments, cwd=self.root, environment=self.environment)
        said, errors = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == status, f"{said}\n{errors}"
        return said, errors

    def dvc(self, *arguments: str) -> str:
        return self.python.well("dvc", *arguments, cwd=self.root, environment=self.environment)

    def ran(self) -> list[str]:
        """The stages that ran, with their learning rate, sorted."""
        return sorted(" ".join(line.split()[:2]) for line in (self.notes / "ran").read_text().splitlines())

    def experiments(self) -> list[str]:
        return sorted(self.dvc("exp", "list", "--name-only").split())


def end(process: "subprocess.Popen[str]") -> str:
    """What a sweep said that went well."""
    said, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, f"{said}\n{errors}"
    return said


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(scope="module")
def start(python: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("quick")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "stage.py").write_text(STAGE)
    (root / "params.yaml").write_text(small_text())
    (root / ".gitignore").write_text("/work/\n/data/\n/models/\n/evaluation/\n/mlflow.db*\n/mlartifacts/\n")
    measured = evaluation(root, "swift", 20.0)
    shutil.rmtree(root / "evaluation")
    for field in ("test_sets", "test_set_sha256", "curve"):
        measured[field] = {"bundled-test": measured[field]["kodak"]}
    write_json(root / "measured.json", {**measured, "name": "wcae"})
    repository = Repository(root)
    repository.git("init", "--quiet", "--initial-branch=main")
    python.well("dvc", "init", "--quiet", cwd=root)
    repository.git("config", "user.name", "test")
    repository.git("config", "user.email", "test@example.invalid")
    repository.git("add", "-A")
    repository.git("commit", "--quiet", "-m", "start")
    return root


@pytest.fixture
def checkout(start: Path, python: Forks, tmp_path: Path) -> Checkout:
    (tmp_path / "notes").mkdir()
    return Checkout(shutil.copytree(start, tmp_path / "checkout"), tmp_path / "notes", python)


def test_a_sweep_makes_experiments_and_leaves_the_workspace_alone(checkout: Checkout) -> None:
    said, _ = checkout.sweep("-S", RATES)
    for name, psnr_db in zip(NAMES, ("21", "22"), strict=True):
        (row,) = [line.split() for line in said.splitlines() if line.split()[:1] == [name]]
        assert row == [name, name.partition("=")[2], "wcae", "0.149", psnr_db, "0.95"]
    assert checkout.ran() == ["evaluate 0.001", "evaluate 0.002", "shard 0.001", "train 0.001", "train 0.002"]
    notes = [line.split() for line in (checkout.notes / "ran").read_text().splitlines()]
    assert {name for stage, _, name, _ in notes if stage == "train"} == set(NAMES)
    assert {uri for *_, uri in notes} == {f"sqlite:///{checkout.root / 'mlflow.db'}"}
    assert not Repository(checkout.root).git("status", "--porcelain")
    assert not (checkout.root / "models").exists()
    assert not [path for path in (checkout.root / "work" / "sweep").iterdir() if path.is_dir()]

    rows = {row["Experiment"]: row for row in csv.DictReader(checkout.dvc("exp", "show", "--csv").splitlines())}
    for name, rate, quality in zip(NAMES, ("0.001", "0.002"), (21.0, 22.0), strict=True):
        assert rows[name]["variants.wcae.train.learning_rate"] == rate
        assert float(rows[name]["test_sets.bundled-test.at_target.psnr_db"]) == quality
    checkout.dvc("exp", "apply", NAMES[1])
    assert (checkout.root / "models" / "wcae" / "trained").read_text().startswith("0.002 ")
    assert "learning_rate: 0.002" in (checkout.root / "params.yaml").read_text()


def test_the_same_command_and_a_wider_one_run_what_is_new(checkout: Checkout) -> None:
    checkout.sweep("-S", RATES, "train")
    before = checkout.ran()
    said, _ = checkout.sweep("-S", RATES, "train")
    assert checkout.ran() == before
    assert all(f"{name} (by an earlier" in said for name in NAMES)
    checkout.sweep("-S", f"{RATES},0.003", "evaluate")
    assert checkout.ran() == sorted(
        [*before, "train 0.003", *(f"evaluate {rate}" for rate in ("0.001", "0.002", "0.003"))]
    )
    assert checkout.experiments() == [*NAMES, "wcae-learning_rate=0.003"]
    (checkout.root / "params.yaml").write_text(small_text().replace("seed: 7", "seed: 8"))
    _, errors = checkout.sweep("-S", RATES, status=2)
    assert "choose another --name" in errors
    assert len(errors.splitlines()) == 1


def test_an_experiment_that_fails_is_told_and_the_others_go_on(checkout: Checkout) -> None:
    (checkout.notes / "fail-0.001").touch()
    said, errors = checkout.sweep("-S", RATES, "-S", "target_bpp=0.1,0.2", "--jobs", "2", status=2)
    names = [f"learning_rate={rate},target_bpp={bpp}" for rate in ("0.001", "0.002") for bpp in ("0.1", "0.2")]
    assert checkout.experiments() == names[2:]
    assert checkout.ran().count("train 0.001") == 1, "nor is what failed run for the experiment that shares it"
    failed, blocked = [line for line in said.splitlines() if line.startswith("failed")]
    assert f"{names[0]}:train@wcae" in failed
    assert "the loss is not finite" in failed
    assert f"{names[1]}: train@wcae needs what failed" in blocked
    assert len(errors.splitlines()) == 1
    assert errors.startswith(f"error: {names[0]}: train@wcae failed: the loss is not finite (")
    assert "and 1 more" in errors
    (checkout.notes / "fail-0.001").unlink()
    checkout.sweep("-S", RATES, "-S", "target_bpp=0.1,0.2")
    assert checkout.experiments() == names
    assert checkout.ran().count("train 0.002") == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_same_command_goes_on_after_a_kill(checkout: Checkout, number: signal.Signals) -> None:
    (checkout.notes / "hold-0.002").touch()
    process = checkout.begin("-S", RATES, "--jobs", "2")
    try:
        wait_for((checkout.notes / "trains-0.002").exists)
        wait_for(lambda: NAMES[0] in Repository(checkout.root).git("for-each-ref", "refs/exps"))
        assert checkout.experiments() == NAMES[:1]
        began = (checkout.root / "work" / "sweep" / NAMES[1] / "work" / "state").read_text()
    finally:
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == (-9 if number is signal.SIGKILL else 130)
    (checkout.notes / "hold-0.002").unlink()
    before = checkout.ran()
    said, _ = checkout.sweep("-S", RATES)
    assert f"{NAMES[0]} (by an earlier" in said
    assert checkout.ran() == sorted([*before, "train 0.002", "evaluate 0.002"])
    assert checkout.experiments() == NAMES
    checkout.dvc("exp", "apply", NAMES[1])
    assert (checkout.root / "models" / "wcae" / "trained").read_text() == f"0.002 {began}", "from the state it left"


def test_two_sweeps_at_once_share_the_experiments(checkout: Checkout) -> None:
    (checkout.notes / "hold-0.001").touch()
    first = checkout.begin("-S", RATES, "--jobs", "2")
    second = None
    try:
        wait_for((checkout.notes / "trains-0.001").exists)
        second = checkout.begin("-S", f"{RATES},0.003")
        wait_for((checkout.notes / "trains-0.003").exists)
    finally:
        (checkout.notes / "hold-0.001").unlink()
        said = [end(process) for process in (first, second) if process is not None]
    assert checkout.experiments() == [*NAMES, "wcae-learning_rate=0.003"]
    assert checkout.ran() == [
        *(f"evaluate {rate}" for rate in ("0.001", "0.002", "0.003")),
        "shard 0.001",
        *(f"train {rate}" for rate in ("0.001", "0.002", "0.003")),
    ]
    assert all(f" {name} " in said[1] for name in NAMES), "its table has what the other ran"
