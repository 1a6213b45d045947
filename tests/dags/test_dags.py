"""The DAGs without a scheduler: their imports, their edges compared with DVC's, alerts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.codecs.table import CODECS
from pipeline.config.profiles import profile_names, write_profile
from pipeline.schedule.dvc_graph import all_graphs, stage_nodes
from pipeline.schedule.stage_nodes import COMMITTED, Graphs, StageNode, dump, load
from tests.forks import forks

CHECKOUT = Path(__file__).resolve().parents[2]
Clone = tuple[Path, dict[str, str]]
Run = Callable[..., subprocess.CompletedProcess[bytes]]

PROBE = """
import json, sys, time
import airflow.sdk
started = time.perf_counter()
from dags import refresh_data, retrain, rollback
seconds = time.perf_counter() - started
print(json.dumps({
    "seconds": seconds,
    "heavy": [name for name in ("torch", "dvc", "mlflow", "numpy") if name in sys.modules],
    "others": [refresh_data.dag.dag_id, rollback.dag.dag_id],
    "retrain": {
        profile: {
            "dag": dag.dag_id,
            "schedule": type(dag.timetable).__name__,
            "params": {name: param.schema for name, param in dag.params.items()},
            "edges": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
            "pools": {task.task_id: task.pool for task in dag.tasks},
            "retries": {task.task_id: task.retries for task in dag.tasks},
            "timeouts": [task.task_id for task in dag.tasks if task.execution_timeout is None],
            "alerted": [task.task_id for task in dag.tasks if task.on_failure_callback],
            "run": dag.get_task("prepare").env["RATEWRIGHT_RUN_ID"],
        }
        for profile, dag in retrain.DAGS.items()
    },
}))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A function (program, settings) that runs it where Airflow is imported, and no other settings are known."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RATEWRIGHT_")}
    environment |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": str(CHECKOUT)}
    with forks(environment | {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))}, ["airflow.sdk"]) as python:
        yield lambda program, **settings: python("-c", program, cwd=CHECKOUT, environment=python.environment | settings)


def run_probe(run: Run, **settings: str) -> dict[str, Any]:
    """What a process that parses the DAGs says of them."""
    done = run(PROBE, **settings)
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def probe(run: Run) -> dict[str, Any]:
    """The DAGs without settings."""
    return run_probe(run)


@pytest.fixture(scope="module")
def drawn(probe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The DAGs that retrain, by profile."""
    return dict(probe["retrain"])


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    return all_graphs(CHECKOUT)


def task_id(name: str) -> str:
    """The task of a stage instance."""
    stage, _, instance = name.partition("@")
    return f"{stage}.{instance}" if instance else stage


def test_parsing_loads_nothing_heavy(probe: dict[str, Any]) -> None:
    assert probe["heavy"] == []
    assert probe["seconds"] < 2
    assert probe["others"] == ["refresh_data", "rollback"]


def test_each_profile_has_a_dag_with_its_own_stages_alone(drawn: dict[str, dict[str, Any]], graphs: Graphs) -> None:
    assert {profile: each["dag"] for profile, each in drawn.items()} == {
        COMMITTED: "retrain",
        **{profile: f"retrain_{profile}" for profile in profile_names(CHECKOUT)},
    }
    frame = {"workspace": [], "prepare": ["workspace"]}
    for profile, nodes in graphs.items():
        stages = {task_id(node.name): sorted(map(task_id, node.upstream)) or ["prepare"] for node in nodes}
        last = sorted(stages.keys() - {name for upstream in stages.values() for name in upstream})
        assert "register" in last
        assert drawn[profile]["edges"] == frame | stages | {"commit": last}


def test_a_dag_offers_the_variants_of_its_profile(drawn: dict[str, dict[str, Any]]) -> None:
    assert drawn["paper-004"]["params"]["variants"]["items"]["enum"] == ["nowcae", "wcae"]
    assert drawn["paper-004"]["params"]["profile"] == {"const": "paper-004"}
    assert "profile" not in drawn[COMMITTED]["params"]


def test_runs_of_one_id_have_names_of_their_own(drawn: dict[str, dict[str, Any]]) -> None:
    assert drawn[COMMITTED]["run"] == "{{ run_id }}"
    assert drawn["real"]["run"] == "real__{{ run_id }}"
    assert len({each["run"] for each in drawn.values()}) == len(drawn)


def test_a_profile_is_scheduled_where_it_has_a_cron(run: Run, drawn: dict[str, dict[str, Any]]) -> None:
    schedules = {each["dag"]: each["schedule"] for each in drawn.values()}
    assert schedules.pop("retrain") == "AssetOrTimeSchedule"
    assert set(schedules.values()) == {"NullTimetable"}
    chosen = run_probe(run, RATEWRIGHT_RETRAIN_PAPER_004_CRON="0 3 * * 0")["retrain"]
    assert chosen["paper-004"]["schedule"] == "CronTriggerTimetable"
    assert chosen["real"]["schedule"] == "NullTimetable"


def test_workers_that_share_nothing_wait_for_no_workspace(run: Run) -> None:
    dags = run_probe(run, RATEWRIGHT_REPOSITORY="https://git.invalid/codecs.git")["retrain"]
    assert dags["real"]["edges"]["prepare"] == []
    assert "workspace" not in dags["real"]["edges"]


def test_edges_are_those_that_dvc_dag_draws() -> None:
    drawn = subprocess.run(
        [str(Path(sys.executable).parent / "dvc"), "dag", "--dot"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    edges = set()
    for line in drawn.stdout.splitlines():
        if "->" in line:
            above, below = (part.strip(' ";') for part in line.split("->"))
            edges.add((above, below))
    nodes = stage_nodes(CHECKOUT)
    assert edges == {(above, node.name) for node in nodes for above in node.upstream}


def test_training_waits_for_an_accelerator(drawn: dict[str, dict[str, Any]], graphs: Graphs) -> None:
    stages = ("train", "fine_tune", "calibrate", "calibrate_fine_tuned")
    for profile, nodes in graphs.items():
        pooled = {task for task, pool in drawn[profile]["pools"].items() if pool == "accelerator"}
        assert pooled == {task_id(node.name) for node in nodes if node.stage in stages}
    assert {task.partition(".")[2] for task in drawn["small"]["pools"]} >= CODECS.keys()


def test_every_task_is_tried_again_in_bounded_time_and_alerts(drawn: dict[str, dict[str, Any]]) -> None:
    for dag in drawn.values():
        assert min(dag["retries"].values()) == 2
        assert not dag["timeouts"]
        assert sorted(dag["alerted"]) == sorted(dag["edges"])


def test_stages_json_is_current(graphs: Graphs) -> None:
    assert (CHECKOUT / "dags" / "stages.json").read_text() == dump(graphs)


def test_the_graph_of_params_yaml_is_that_of_the_stages_it_names(graphs: Graphs, tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "dvc.yaml", tmp_path)
    shutil.copytree(CHECKOUT / "profiles", tmp_path / "profiles")
    write_profile(tmp_path, "real", None)
    assert all_graphs(tmp_path) == {**graphs, COMMITTED: graphs["real"]}
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("  nowcae:\n", "  novel:\n").replace("- webp\n", ""))
    own = dict(all_graphs(tmp_path))
    names, real = {node.name for node in own.pop(COMMITTED)}, {node.name for node in graphs["real"]}
    assert names - real == {"train@novel", "calibrate@novel", "evaluate@novel"}
    assert real - names == {"train@nowcae", "calibrate@nowcae", "evaluate@nowcae", "evaluate_baseline@webp"}
    assert own == {profile: nodes for profile, nodes in graphs.items() if profile != COMMITTED}


def test_graphs_survive_their_file(tmp_path: Path) -> None:
    graphs = {"one": [StageNode("a@x", ()), StageNode("b", ("a@x",), accelerator=True, longest_hours=0.5)]}
    (tmp_path / "stages.json").write_text(dump(graphs))
    assert load(tmp_path / "stages.json") == graphs


PREPARE = """
import json, os
from dags.retrain import DAGS
prepare = DAGS["params.yaml"].get_task("prepare")
prepare.bash_command += "; echo a late warning >&2"
prepare.env = {"RATEWRIGHT_RUN_ID": "one", "RATEWRIGHT_REQUEST": "{}"}
print(json.dumps({"plan": prepare.execute({})}))
"""


def test_the_plan_survives_a_warning_after_it(new_clone: Callable[[], Clone], tmp_path: Path) -> None:
    folder, environment = new_clone()
    environment |= {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",  # lets an operator run outside a task runner
        "RATEWRIGHT_WORKSPACE": str(folder),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", PREPARE], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a late warning" in done.stdout + done.stderr
    plan = json.loads(done.stdout.splitlines()[-1])["plan"]
    assert "train@wcae" in json.loads(plan)["stages"]
    assert not list(tmp_path.glob("ratewright-*"))


WORKSPACE = """
import json, types
from dags._render import workspace_task
running = {("retrain", "weekly"), ("retrain_real", "manual")}
def runs(dag_id, run_ids, states):
    return sum((dag_id, run_id) in running for run_id in run_ids if states == ["running"])
def taken_by(dag_id, run_id):
    task = types.SimpleNamespace(dag_id=dag_id, run_id=run_id, get_dr_count=runs)
    return workspace_task().poke({"ti": task})
said = [taken_by("retrain", "weekly"), taken_by("retrain_real", "manual"), taken_by("retrain", "weekly")]
running.remove(("retrain", "weekly"))
print(json.dumps([*said, taken_by("retrain_real", "manual"), taken_by("retrain", "next")]))
"""


def test_one_run_at_a_time_has_the_workspace(run: Run, tmp_path: Path) -> None:
    done = run(WORKSPACE, RATEWRIGHT_WORKSPACE=str(tmp_path))
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == [True, False, True, True, False]
    assert "the workspace is in use by retrain weekly" in out + err


ALERT = """
import http.server, threading
from dags._render import alert
received = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        received.append(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
import os, types
os.environ["RATEWRIGHT_ALERT_WEBHOOK"] = f"http://127.0.0.1:{server.server_port}/"
task = types.SimpleNamespace(dag_id="retrain", task_id="train.wcae", try_number=3)
alert({"ti": task, "run_id": "weekly", "exception": RuntimeError("no memory left")})
server.shutdown()
server.server_close()
os.environ["RATEWRIGHT_ALERT_WEBHOOK"] = f"http://127.0.0.1:{server.server_port}/"
alert({"ti": task, "run_id": "weekly", "exception": RuntimeError("no memory left")})  # nobody there: logged, not raised
print(received[0])
"""


def test_a_failure_reaches_the_webhook(run: Run) -> None:
    done = run(ALERT)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {
        "dag": "retrain",
        "run": "weekly",
        "task": "train.wcae",
        "tries": 3,
        "error": "no memory left",
    }
    assert "train.wcae failed after 3 tries: no memory left" in out + err
    assert "the alert did not reach" in out + err
