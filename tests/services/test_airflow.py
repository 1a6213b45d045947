"""Airflow, started like `make airflow`, with a scheduler, an API server and real runs on the smallest budgets.

One workspace, SQLite, LocalExecutor. Each test continues from the one before.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.running_airflow import RUN_S, Airflow, command_of, running_airflow, wait_for

Clone = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def airflow(new_clone: Callable[[], Clone], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder, environment = new_clone()
    with running_airflow(folder, environment, tmp_path_factory.mktemp("airflow")) as running:
        yield running


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target-bpp=-1",), "target_bpp"),
        (("--variants=wcea",), "variants"),
        (("--profile=reel",), "profile"),
        (("--training-steps=0",), "training_steps"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(
    airflow: Airflow, options: tuple[str, ...], said: str
) -> None:
    done = airflow.retrain(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not airflow.git("for-each-ref", "refs/ratewright/")


def test_a_run_goes_from_trigger_to_champion_and_commit(airflow: Airflow) -> None:
    start = airflow.git("rev-parse", "HEAD")
    done = airflow.retrain()
    assert done.returncode == 0, done.stdout + done.stderr
    registered = json.loads((airflow.folder / "registry.json").read_text())
    assert (registered["decision"], registered["aliases"]["champion"]) == ("promoted", "1")
    assert registered["why"] in airflow.task_log("register")
    head = airflow.git("rev-parse", "HEAD")
    assert airflow.git("rev-list", f"{start}..HEAD").splitlines() == [head, airflow.git("rev-parse", "HEAD^")]
    assert airflow.git("tag", "--points-at", head).startswith("retrain/manual-")
    assert airflow.git("status", "--porcelain", "--untracked-files=no") == ""
    status = subprocess.run(
        ["dvc", "status", "--json"],
        cwd=airflow.folder,
        env=airflow.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(status.stdout)) == {"register"}  # which is always_changed


def test_a_killed_training_is_resumed_by_the_retry(airflow: Airflow) -> None:
    head = airflow.git("rev-parse", "HEAD")
    run = subprocess.Popen(
        airflow.command("retrain", "--variants=wcae", "--training-steps=120"),
        cwd=airflow.folder,
        env=airflow.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    training = "pipeline.stages.train"
    wait_for(lambda: "train wcae: step 6 " in airflow.task_log("train.wcae").rpartition("steps in")[2], 600)
    dvc = [pid for pid in airflow.processes() if b"repro" in command_of(pid) and b"train@wcae" in command_of(pid)]
    assert dvc
    os.kill(dvc[0], signal.SIGKILL)
    # The training ends with the dvc process that started it, after saving its state.
    wait_for(lambda: not any(training.encode() in command_of(pid) for pid in airflow.processes()), 120)
    assert (airflow.folder / "work" / "train" / "wcae" / "state.safetensors").exists()
    output, _ = run.communicate(timeout=RUN_S)
    assert run.returncode == 0, output
    assert "train.wcae up for retry" in output
    tries = airflow.task_log("train.wcae")
    assert tries.count("train wcae: step 6 ") == 2  # of the first run, and of the second's first try
    assert "train wcae: 120 steps in" in tries
    # The result of a run with other parameters has a tag; the branch stays.
    assert airflow.git("rev-parse", "HEAD") == head
    assert len(airflow.git("tag", "--list", "retrain/*").splitlines()) == 2


RETRAINS = "api.call('GET', '/api/v2/dags/retrain/dagRuns')['dag_runs']"


def test_a_rollback_brings_the_champion_before_back(airflow: Airflow) -> None:
    # 120 steps are better than 12.
    assert json.loads((airflow.folder / "registry.json").read_text())["aliases"]["champion"] == "2"
    assert airflow.ask("api.follow('rollback', api.trigger('rollback', {'model': 'image-codec-0.15bpp'}))") == "success"
    assert "champion was version 2, is version 1" in airflow.task_log("rollback")


def test_a_refresh_that_finds_nothing_new_starts_nothing(airflow: Airflow) -> None:
    assert airflow.ask("api.follow('refresh_data', api.trigger('refresh_data', {}))") == "success"
    assert "sources: nothing changed" in airflow.task_log("sources")
    assert len(airflow.ask(RETRAINS)) == 2


def test_a_changed_source_retrains(airflow: Airflow) -> None:
    params = airflow.folder / "params.yaml"
    known = re.search(r"revision: (\w+)", params.read_text())
    assert known is not None
    params.write_text(params.read_text().replace(known[1], "another"))
    airflow.git("commit", "-qam", "as if the source had been different")
    assert airflow.ask("api.follow('refresh_data', api.trigger('refresh_data', {}))") == "success"
    wait_for(lambda: len(airflow.ask(RETRAINS)) == 3, 600)
    [run] = [run for run in airflow.ask(RETRAINS) if run["run_type"] == "asset_triggered"]
    assert airflow.ask(f"api.follow('retrain', '{run['dag_run_id']}')") == "success"
    assert known[0] in airflow.git("show", "HEAD:params.yaml")
    # The version that was rolled back is not promoted again.
    assert json.loads((airflow.folder / "registry.json").read_text())["aliases"]["champion"] == "1"


def test_ctrl_c_stops_everything(airflow: Airflow) -> None:
    assert airflow.processes()
    airflow.process.send_signal(signal.SIGINT)
    airflow.process.wait(60)
    wait_for(lambda: not airflow.processes(), 120)
