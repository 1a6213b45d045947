"""Airflow, started like `make airflow`, with a scheduler, an API server and real runs on the smallest budgets.

One workspace, SQLite, LocalExecutor. Tests share one Airflow and its first run, and need nothing of each other.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.services.running_airflow import WAIT_S, Airflow, command_of, draw_dags, running_airflow, wait_for

Clone = tuple[Path, dict[str, str]]

MODEL = "image-codec-0.15bpp"


@pytest.fixture(scope="module")
def airflow(new_clone: Callable[[], Clone], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder, environment = new_clone()
    add_profile(folder)
    draw_dags(folder, environment)
    with running_airflow(folder, environment, tmp_path_factory.mktemp("airflow")) as running:
        yield running


def add_profile(folder: Path) -> None:
    """Write profiles/tiny.yaml: params.yaml with one variant and one baseline."""
    yaml = YAML()
    profile = yaml.load(folder / "params.yaml")
    profile["datasets"] = [*profile["datasets"]]
    profile["baselines"], profile["variants"] = ["jpeg"], {"nowcae": profile["variants"]["nowcae"]}
    profile["efforts"] = {}
    for key in ("mirror", "launcher", "ray", "resources"):
        profile.pop(key, None)
    yaml.dump(profile, folder / "profiles" / "tiny.yaml")


@pytest.fixture(autouse=True)
def end_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """End what a test left running, so that the next one finds a free workspace."""
    yield
    if "airflow" in request.fixturenames:
        request.getfixturevalue("airflow").end_runs()


@dataclass(frozen=True)
class FirstRun:
    """The first run of the Airflow, and the workspace right after it."""

    run_id: str
    start: str
    """The commit that the branch was at before."""
    head: str
    """The commit that the branch was at afterwards."""
    registered: dict[str, Any]
    edited: str
    outdated: set[str]
    """Stages that DVC would run again."""


@pytest.fixture(scope="module")
def first_run(airflow: Airflow) -> FirstRun:
    start = airflow.git("rev-parse", "HEAD")
    run = airflow.start()
    run.finish()
    status = subprocess.run(
        ["dvc", "status", "--json"],
        cwd=airflow.folder,
        env=airflow.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return FirstRun(
        run.run_id,
        start,
        airflow.git("rev-parse", "HEAD"),
        registered(airflow),
        airflow.git("status", "--porcelain", "--untracked-files=no"),
        {*json.loads(status.stdout)},
    )


def registered(airflow: Airflow) -> dict[str, Any]:
    """The registry.json of the last run."""
    return dict(json.loads((airflow.folder / "registry.json").read_text()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target-bpp=-1",), "target_bpp"),
        (("--variants=wcea",), "variants"),
        (("--profile=tiny", "--variants=wcae"), "variants"),
        (("--profile=reel",), "no DAG for the profile 'reel'"),
        (("--training-steps=0",), "training_steps"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(
    airflow: Airflow, options: tuple[str, ...], said: str
) -> None:
    before = airflow.git("for-each-ref", "refs/ratewright/")
    done = airflow.retrain(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert airflow.git("for-each-ref", "refs/ratewright/") == before


def test_a_run_goes_from_trigger_to_champion_and_commit(airflow: Airflow, first_run: FirstRun) -> None:
    assert (first_run.registered["decision"], first_run.registered["aliases"]["champion"]) == ("promoted", "1")
    assert first_run.registered["why"] in airflow.task_log("register", first_run.run_id)
    commits = airflow.git("rev-list", f"{first_run.start}..{first_run.head}").splitlines()
    assert commits == [first_run.head, airflow.git("rev-parse", f"{first_run.head}^")]
    assert airflow.git("tag", "--points-at", first_run.head).startswith("retrain/manual-")
    assert first_run.edited == ""
    assert first_run.outdated == {"register"}  # which is always_changed


def test_a_run_of_params_yaml_skips_no_task(airflow: Airflow, first_run: FirstRun) -> None:
    tasks = airflow.tasks("retrain", first_run.run_id)
    assert {task["state"] for task in tasks} == {"success"}
    assert {"workspace", "train.wcae", "train.nowcae", "commit"} <= {task["task_id"] for task in tasks}


@pytest.mark.usefixtures("first_run")
def test_runs_of_two_dags_take_turns_in_the_workspace(airflow: Airflow) -> None:
    runs = {"retrain": airflow.start("--variants=wcae")}
    # Airflow's API refuses two requests of the same moment on SQLite: one waits for the other inside the event loop.
    wait_for(lambda: runs["retrain"].run_id, runs["retrain"].goes_on, runs["retrain"].log)
    runs["retrain_tiny"] = airflow.start("--profile=tiny")
    spans = {}
    for dag, run in runs.items():
        said = run.finish()
        for task in ("choose", "report", "register", "commit"):
            assert f"{dag}: {task} success" in said
        tasks = [task for task in airflow.tasks(dag, run.run_id) if task["task_id"] != "workspace"]
        assert {task["task_id"] for task in tasks if task["task_id"].startswith("train.")} == (
            {"train.nowcae"} if dag == "retrain_tiny" else {"train.wcae", "train.nowcae"}
        )
        assert {task["state"] for task in tasks} == {"success"} | ({"skipped"} if dag == "retrain" else set())
        ran = [task for task in tasks if task["state"] == "success"]
        spans[dag] = min(task["start_date"] for task in ran), max(task["end_date"] for task in ran)
    first, second = sorted(spans.values())
    assert first[1] <= second[0]
    assert airflow.git("tag", "--list", "retrain/tiny-manual-*")


@pytest.mark.usefixtures("first_run")
def test_a_killed_training_is_resumed_by_the_retry(airflow: Airflow) -> None:
    head, tags = airflow.git("rev-parse", "HEAD"), airflow.git("tag", "--list", "retrain/*").splitlines()
    run = airflow.start("--variants=wcae", "--training-steps=120")
    training = "pipeline.stages.train"

    def tries() -> str:
        return airflow.task_log("train.wcae", run.run_id) if run.run_id else ""

    wait_for(lambda: "train wcae: step 6 " in tries(), run.goes_on, run.log)
    dvc = [pid for pid in airflow.processes() if b"repro" in command_of(pid) and b"train@wcae" in command_of(pid)]
    assert dvc
    os.kill(dvc[0], signal.SIGKILL)
    # The training ends with the dvc process that started it, after saving its state.
    state = airflow.folder / "work" / "train" / "wcae" / "state.safetensors"
    wait_for(lambda: not any(training.encode() in command_of(pid) for pid in airflow.processes()), run.goes_on)
    assert state.exists()
    assert "train.wcae up for retry" in run.finish()
    assert tries().count("train wcae: step 6 ") == 1
    assert "train wcae: 120 steps in" in tries()
    # The result of a run with other parameters has a tag; the branch stays.
    assert airflow.git("rev-parse", "HEAD") == head
    assert len(airflow.git("tag", "--list", "retrain/*").splitlines()) == len(tags) + 1


SECOND_VERSION = """
import json
from pathlib import Path
from pipeline.registry.models import CHAMPION, RegisteredModel
from pipeline.registry.client import client
mlflow = client(Path.cwd())
for _ in range(2):
    mlflow.copy_model_version("models:/{model}/1", "rolled-back")
decision = json.loads(RegisteredModel(Path.cwd(), "{model}").tags("1")["decision"])
second = RegisteredModel(Path.cwd(), "rolled-back")
second.tag("2", decision=json.dumps(decision | {{"replaced": "1"}}))
second.point(CHAMPION, "2")
"""
"""Makes a model whose second version replaced its first."""


@pytest.mark.usefixtures("first_run")
def test_a_rollback_brings_the_champion_before_back(airflow: Airflow) -> None:
    program = SECOND_VERSION.format(model=MODEL)
    subprocess.run([sys.executable, "-c", program], cwd=airflow.folder, env=airflow.environment, check=True)
    assert airflow.ask("api.follow('rollback', api.trigger('rollback', {'model': 'rolled-back'}))") == "success"
    assert "champion was version 2, is version 1" in airflow.task_log("rollback")


@pytest.mark.usefixtures("first_run")
def test_a_refresh_that_finds_nothing_new_starts_nothing(airflow: Airflow) -> None:
    before = airflow.runs("retrain")
    refresh = airflow.ask("[run := api.trigger('refresh_data', {}), api.follow('refresh_data', run)]")
    assert refresh[1] == "success"
    assert "sources: nothing changed" in airflow.task_log("sources", refresh[0])
    assert airflow.runs("retrain") == before


@pytest.mark.usefixtures("first_run")
def test_a_changed_source_retrains(airflow: Airflow) -> None:
    before, champion = airflow.runs("retrain"), registered(airflow)["aliases"]["champion"]
    params = airflow.folder / "params.yaml"
    known = re.search(r"revision: (\w+)", params.read_text())
    assert known is not None
    params.write_text(params.read_text().replace(known[1], "another"))
    airflow.git("commit", "-qam", "as if the source had been different")
    assert airflow.ask("api.follow('refresh_data', api.trigger('refresh_data', {}))") == "success"
    wait_for(lambda: len(airflow.runs("retrain")) > len(before), lambda: airflow.process.poll() is None)
    [(run_id, kind)] = airflow.runs("retrain").items() - before.items()
    assert kind == "asset_triggered"
    assert airflow.ask(f"api.follow('retrain', '{run_id}')") == "success"
    assert known[0] in airflow.git("show", "HEAD:params.yaml")
    assert registered(airflow)["aliases"]["champion"] == champion


def test_ctrl_c_stops_everything(new_clone: Callable[[], Clone], tmp_path: Path) -> None:
    with running_airflow(*new_clone(), tmp_path) as airflow:
        assert airflow.processes()
        airflow.process.send_signal(signal.SIGINT)
        airflow.process.wait(WAIT_S)
        wait_for(lambda: not airflow.processes(), lambda: True)
