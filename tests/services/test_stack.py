"""The services of docker/compose.yaml, run natively: PostgreSQL, an S3 store, an MLflow server, Airflow.

Workers share nothing: every task works in a clone of its own and exchanges data through the S3 remote. Tests share one
Airflow and its first run, and need nothing of each other.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.native_services import POSTGRES, composed, mlflow_server, postgres, s3_store
from tests.services.running_airflow import Airflow, draw_dags, running_airflow

Clone = tuple[Path, dict[str, str]]

STAGES = {
    *(f"fetch@bundled-{role}" for role in ("train", "calibration", "fine-tune", "test")),
    "validate@bundled-train",
    "shard@bundled-train",
    *(f"{stage}@{codec}" for stage in ("train", "calibrate", "evaluate") for codec in ("wcae", "nowcae")),
    *(f"evaluate_baseline@{codec}" for codec in ("jpeg", "webp")),
    "choose",
    "report",
}
"""The stage instances of a run, without `register`, which runs twice."""

pytestmark = pytest.mark.skipif(POSTGRES is None, reason="PostgreSQL is not installed (apt install postgresql)")


@pytest.fixture(scope="module")
def stack(new_clone: Callable[[], Clone], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder, environment = new_clone()
    draw_dags(folder, environment)
    # PostgreSQL's user may not enter pytest's folders: its data lies directly in /tmp.
    home = tmp_path_factory.mktemp("stack")
    bare = home / "origin.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(folder), str(bare)], check=True)
    with ExitStack() as services:
        database = services.enter_context(postgres(Path(f"/tmp/ratewright-postgres-{os.getpid()}")))
        store = services.enter_context(s3_store(home, environment))
        registry = services.enter_context(mlflow_server(home, environment, database, store))
        airflow = composed("airflow-scheduler")["environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        environment |= store.settings("stages") | registry
        environment |= {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow.replace("@postgres/", f"@127.0.0.1:{database}/"),
            "RATEWRIGHT_REPOSITORY": str(bare),
            "RATEWRIGHT_BRANCH": "main",
            "RATEWRIGHT_DVC_REMOTE": "s3://ratewright/dvc",
            "RATEWRIGHT_SCRATCH": str(home / "scratch"),
        }
        (home / "airflow").mkdir()
        yield services.enter_context(running_airflow(folder, environment, home / "airflow"))


@pytest.fixture(autouse=True)
def end_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """End what a test left running, so that the next one finds a free workspace."""
    yield
    if "stack" in request.fixturenames:
        request.getfixturevalue("stack").end_runs()


@dataclass(frozen=True)
class FirstRun:
    """The first run of the stack, and what it left behind."""

    run_id: str
    head: str
    """The commit that the branch was at afterwards."""
    champion: dict[str, Any]
    """The champion in the registry, as MLflow's REST API gives it."""
    clones: list[Path]


@pytest.fixture(scope="module")
def first_run(stack: Airflow) -> FirstRun:
    run = stack.start()
    run.finish()
    answer = httpx.get(
        f"{stack.environment['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/registered-models/alias",
        params={"name": "image-codec-0.15bpp", "alias": "champion"},
        auth=(stack.environment["MLFLOW_TRACKING_USERNAME"], stack.environment["MLFLOW_TRACKING_PASSWORD"]),
    )
    clones = [*Path(stack.environment["RATEWRIGHT_SCRATCH"]).glob("*/*/")]
    return FirstRun(run.run_id, origin(stack, "rev-parse", "main"), answer.raise_for_status().json(), clones)


def origin(stack: Airflow, *arguments: str) -> str:
    """What git says of the repository that the clones come from."""
    command = ["git", "-C", stack.environment["RATEWRIGHT_REPOSITORY"], *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_run_of_workers_that_share_nothing(stack: Airflow, first_run: FirstRun) -> None:
    tasks = stack.tasks("retrain", first_run.run_id)
    assert {task["state"] for task in tasks} == {"success"}

    # At least two at once.
    spans = sorted((task["start_date"], task["end_date"]) for task in tasks)
    assert any(later[0] < earlier[1] for earlier, later in pairwise(spans))

    # Every stage ran in one clone, and the others took it from the cache; register always runs.
    log = "\n".join(stack.task_log(task["task_id"], first_run.run_id) for task in tasks)
    counts = Counter(
        line.split("Running stage '")[1].split("'")[0] for line in log.splitlines() if "Running stage '" in line
    )
    assert counts.pop("register") == 2
    assert counts == dict.fromkeys(STAGES, 1)
    assert "Running stage 'register'" in stack.task_log("commit", first_run.run_id)

    # The champion and its figures.
    version = first_run.champion["model_version"]
    assert version["version"] == "1"
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    decision = json.loads(tags["decision"])
    assert decision["outcome"] == "promoted"
    assert 0.95 * 0.15 <= decision["challenger"]["bpp"] <= 0.15

    # The commit and its tag, in the repository that the clones came from.
    assert origin(stack, "tag", "--points-at", first_run.head).startswith("retrain/manual-")
    assert "dvc.lock" in origin(stack, "ls-tree", "--name-only", first_run.head).split()
    assert not origin(stack, "for-each-ref", "refs/ratewright/")
    assert not first_run.clones


def use_remote(clone: Path, environment: dict[str, str]) -> None:
    for command in (
        ["remote", "add", "--local", "--default", "shared", "s3://ratewright/dvc"],
        ["remote", "modify", "--local", "shared", "endpointurl", environment["AWS_ENDPOINT_URL"]],
    ):
        subprocess.run(["dvc", *command], cwd=clone, env=environment, check=True, capture_output=True)


@pytest.mark.usefixtures("first_run")
def test_a_last_clone_replays_everything_from_the_cache(stack: Airflow, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", stack.environment["RATEWRIGHT_REPOSITORY"], str(clone)], check=True)
    environment = stack.environment | {"PYTHONPATH": str(clone)}
    use_remote(clone, environment)
    subprocess.run(["dvc", "pull"], cwd=clone, env=environment, check=True, capture_output=True)
    done = subprocess.run(["dvc", "repro"], cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("Running")] == ["Running stage 'register':"]
    assert "nothing to do" in done.stdout


@pytest.mark.usefixtures("first_run")
def test_a_second_run_does_only_what_changed(stack: Airflow, tmp_path: Path) -> None:
    """Clones pull the outputs of unchanged variants from the remote, and the winner is chosen among all variants."""
    clone = tmp_path / "clone"
    git = ["git", "-c", "user.name=operator", "-c", "user.email=operator@example.org"]
    subprocess.run(["git", "clone", "-q", stack.environment["RATEWRIGHT_REPOSITORY"], str(clone)], check=True)
    params = clone / "params.yaml"
    before, after = params.read_text().split("  nowcae:\n")
    assert "learning_rate: 0.003" in after
    params.write_text(before + "  nowcae:\n" + after.replace("learning_rate: 0.003", "learning_rate: 0.002"))
    subprocess.run([*git, "commit", "-qam", "nowcae learns slower"], cwd=clone, check=True)
    subprocess.run([*git, "push", "-q", "origin", "HEAD"], cwd=clone, check=True)
    run = stack.start()
    run.finish()
    logs = "\n".join(stack.task_log(task["task_id"], run.run_id) for task in stack.tasks("retrain", run.run_id))
    ran = {line.split("Running stage '")[1].split("'")[0] for line in logs.splitlines() if "Running stage '" in line}
    assert ran == {"train@nowcae", "calibrate@nowcae", "evaluate@nowcae", "choose", "report", "register"}
    subprocess.run(["git", "pull", "-q", "origin", "main"], cwd=clone, check=True)
    environment = stack.environment | {"PYTHONPATH": str(clone)}
    use_remote(clone, environment)
    subprocess.run(["dvc", "pull", "choose"], cwd=clone, env=environment, check=True, capture_output=True)
    rows = json.loads((clone / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {"wcae", "nowcae", "jpeg", "webp"}
