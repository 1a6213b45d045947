"""The tasks as the scheduler starts them, without a scheduler."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.forks import Forks


class Clone(NamedTuple):
    """A checkout, the environment that its commands run in, and what runs them."""

    folder: Path
    environment: dict[str, str]
    python: Forks


@pytest.fixture(scope="module")
def new_clone(new_clone: Callable[[], tuple[Path, dict[str, str]]], python: Forks) -> Callable[[], Clone]:
    """A function that makes one."""
    return lambda: Clone(*new_clone(), python)


@pytest.fixture(scope="module")
def clone(new_clone: Callable[[], Clone]) -> Clone:
    return new_clone()


def work(clone: Clone, *task: str, **facts: str) -> subprocess.CompletedProcess[str]:
    folder, environment, python = clone
    environment = environment | {f"RATEWRIGHT_{name.upper()}": value for name, value in facts.items()}
    done = python("pipeline.schedule.tasks", *task, cwd=folder, environment=environment)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def prepared(clone: Clone, **facts: str) -> str:
    """The plan that `prepare` writes."""
    path = clone[0] / "work" / "plan.json"
    path.parent.mkdir(exist_ok=True)
    done = work(clone, "prepare", plan_file=str(path), **facts)
    assert done.returncode == 0, done.stderr
    plan = path.read_text()
    path.unlink()
    return plan


def refs(folder: Path) -> str:
    listed = subprocess.run(["git", "for-each-ref"], cwd=folder, capture_output=True, text=True, check=True)
    return listed.stdout


def test_prepare_writes_its_plan_and_a_stage_outside_it_is_skipped(clone: Clone) -> None:
    plan = prepared(clone, run_id="one", request='{"variants": ["wcae"]}')
    assert "train@wcae" in json.loads(plan)["stages"]
    skipped = work(clone, "stage", "train@nowcae", plan=plan)
    assert (skipped.returncode, skipped.stdout) == (99, "train@nowcae is not part of this run\n")


def test_stages_run_with_the_workers_own_python(clone: Clone, tmp_path: Path) -> None:
    """A shell's start-up file may put another Python in front of PATH."""
    (tmp_path / "python").write_text("#!/bin/sh\necho the wrong python >&2; exit 3\n")
    (tmp_path / "python").chmod(0o755)
    plan = prepared(clone, run_id="path", request="{}")
    misled = clone.environment | {"PATH": f"{tmp_path}:{clone.environment['PATH']}"}
    done = work(clone._replace(environment=misled), "stage", "fetch@bundled-test", plan=plan)
    assert done.returncode == 0, done.stderr
    assert "the wrong python" not in done.stderr


def test_an_error_is_one_line(clone: Clone) -> None:
    for task, facts, said in (
        (("prepare",), {"run_id": "two", "request": '{"target_bpp": "much"}'}, "target_bpp"),
        (("prepare",), {}, "RATEWRIGHT_RUN_ID is not set"),
        (("prepare",), {"run_id": "two"}, "RATEWRIGHT_PLAN_FILE is not set"),
        (("dance",), {}, "usage"),
    ):
        done = work(clone, *task, **facts)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_stage_without_a_task_is_refused(new_clone: Callable[[], Clone]) -> None:
    clone = new_clone()
    params = clone.folder / "params.yaml"
    params.write_text(params.read_text().replace("  - webp\n", "  - jpeg2000\n").replace("  nowcae:\n", "  novel:\n"))
    subprocess.run(["git", "commit", "-qam", "a new variant"], cwd=clone.folder, check=True)
    done = work(clone, "prepare", run_id="three", request="{}", plan_file="plan.json")
    assert done.returncode == 2
    assert "train@novel" in done.stderr
    assert "make graph" in done.stderr


def test_a_profile_runs_in_a_dag_of_its_own(new_clone: Callable[[], Clone]) -> None:
    """The committed params.yaml may lack its stages, and prepare looks for tasks in the DAG of the profile alone."""
    clone = new_clone()
    plan = json.loads(prepared(clone, run_id="small__one", request='{"profile": "small"}'))
    assert {"train@gmm", "evaluate_baseline@avif"} <= plan["stages"].keys()
    assert plan["stages"]["calibrate@wcae"] == ["fetch@bundled-calibration", "shard@bundled-train", "train@wcae"]
    graphs = clone[0] / "dags" / "stages.json"
    graphs.write_text(json.dumps({**json.loads(graphs.read_text()), "small": []}))
    subprocess.run(["git", "commit", "-qam", "no tasks"], cwd=clone[0], check=True)
    done = work(clone, "prepare", run_id="small__two", request='{"profile": "small"}', plan_file="plan.json")
    assert done.returncode == 2
    assert "the DAG retrain_small has no task for" in done.stderr


def test_a_workspace_with_the_params_of_another_run_is_refused(new_clone: Callable[[], Clone]) -> None:
    clone = new_clone()
    first = prepared(clone, run_id="first", request='{"target_bpp": 0.2}')
    prepared(clone, run_id="second", request='{"target_bpp": 0.3}')
    for task in (("stage", "fetch@bundled-test"), ("commit",)):
        done = work(clone, *task, plan=first)
        assert done.returncode == 2
        assert "has the params of another run now" in done.stderr
    assert prepared(clone, run_id="first", request='{"target_bpp": 0.2}') == first
    assert work(clone, "stage", "fetch@bundled-test", plan=first).returncode == 0


def test_clones_start_from_the_repositorys_branch_and_leave_nothing(clone: Clone, tmp_path: Path) -> None:
    bare = tmp_path / "origin.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(clone.folder), str(bare)], check=True)
    settings = {"repository": str(bare), "scratch": str(tmp_path / "scratch")}
    text = prepared(clone, run_id="four", request="{}", **settings)
    plan = json.loads(text)
    assert plan["branch"] == "main"
    assert f"{plan['commit']} commit\trefs/ratewright/four" in refs(bare)
    assert prepared(clone, run_id="four", request="{}", **settings) == text
    assert not list((tmp_path / "scratch").glob("*/*"))
    lost = work(clone, "stage", "train@wcae", plan=text, **settings)
    assert lost.returncode == 2
    assert "MLFLOW_TRACKING_URI" in lost.stderr


def committed_plan(clone: Clone, bare: Path, run_id: str, **settings: str) -> str:
    """A bare repository of `clone` at `bare`, and the plan of a run in it."""
    subprocess.run(["git", "clone", "-q", "--bare", str(clone[0]), str(bare)], check=True)
    return prepared(clone, run_id=run_id, request="{}", repository=str(bare), **settings)


def test_the_clone_of_a_failed_stage_stays_for_the_next_attempt_and_not_for_ever(clone: Clone, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    settings = {"repository": str(tmp_path / "origin.git"), "scratch": str(scratch), "dvc_remote": "/dev/null/nowhere"}
    clone = clone._replace(environment=clone.environment | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    plan = committed_plan(clone, tmp_path / "origin.git", "five", scratch=str(scratch))
    stage = scratch / "five" / "fetch-bundled-test"
    for _ in range(2):
        assert work(clone, "stage", "fetch@bundled-test", plan=plan, **settings).returncode == 2
        assert (stage / "params.yaml").exists()
        (stage / ".git" / "index.lock").touch()  # as a git that was killed leaves it
        (stage / ".git" / "HEAD").write_text("ref: refs/heads/unborn\n")  # and before it had written all files
    lost = work(
        clone, "prepare", run_id="six", request="{}", plan_file="plan.json", repository="/nowhere", scratch=str(scratch)
    )
    assert lost.returncode == 2
    assert list(scratch.glob("*/*")) == [stage], "a prepare that failed leaves nothing"
    foreign = scratch / "someone" / "project"
    foreign.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=foreign, check=True)
    for old in (stage, foreign):
        os.utime(old, (0, 0))
    prepared(clone, run_id="seven", request="{}", repository=settings["repository"], scratch=str(scratch))
    assert list(scratch.glob("*/*")) == [foreign], "a folder that is no clone of a run is not ours to remove"


def test_clones_lie_in_a_folder_that_only_their_user_may_enter(clone: Clone, tmp_path: Path) -> None:
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    clone = clone._replace(environment=clone.environment | own)
    committed_plan(clone, tmp_path / "origin.git", "eight")
    assert (tmp_path / "cache" / "ratewright").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "ratewright").exists()


def test_sources_compares_with_the_committed_params(new_clone: Callable[[], Clone]) -> None:
    """Another run may have written its params.yaml, with revisions of its own, into a workspace that both share."""
    clone = new_clone()
    before = (clone[0] / "params.yaml").read_text()
    prepared(clone, run_id="first", request="{}")
    subprocess.run(["git", "commit", "-qam", "known revisions"], cwd=clone[0], check=True)
    (clone[0] / "params.yaml").write_text(before)
    done = work(clone, "sources")
    assert (done.returncode, done.stdout) == (99, "sources: nothing changed\n")


def test_a_training_ends_with_the_process_that_started_it(clone: Clone) -> None:
    """A shell that is killed outright takes a stage with it, by the signal that lets it save its state."""
    folder, environment, _ = clone
    program = (
        "import os, signal, time; from components.training.interrupt import die_with_parent; die_with_parent(); "
        "signal.signal(signal.SIGTERM, lambda *_: (open('saved', 'w').close(), os._exit(0))); "
        "open('ready', 'w').close(); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time, os, pathlib; "
        f"subprocess.Popen([sys.executable, '-c', {program!r}]); "
        "[time.sleep(0.05) for _ in iter(lambda: pathlib.Path('ready').exists(), True)]; os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", parent], cwd=folder, env=environment, check=False, timeout=60)
    for _ in range(100):
        if (folder / "saved").exists():
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert (folder / "saved").exists()
