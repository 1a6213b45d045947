"""The DAGs without a scheduler: their imports, their edges compared with DVC's, alerts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.codecs.table import CODECS
from pipeline.config.profiles import write_profile
from pipeline.schedule.dvc_graph import all_graphs, stage_nodes
from pipeline.schedule.stage_nodes import Graphs, StageNode, dump, load, union

CHECKOUT = Path(__file__).resolve().parents[2]
Clone = tuple[Path, dict[str, str]]

PROBE = """
import json, sys, time
import airflow.sdk
started = time.perf_counter()
from dags import refresh_data, retrain, rollback
seconds = time.perf_counter() - started
dag = retrain.dag
print(json.dumps({
    "seconds": seconds,
    "heavy": [name for name in ("torch", "dvc", "mlflow", "numpy") if name in sys.modules],
    "dags": sorted([retrain.dag.dag_id, refresh_data.dag.dag_id, rollback.dag.dag_id]),
    "edges": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
    "pools": {task.task_id: task.pool for task in dag.tasks},
    "retries": {task.task_id: task.retries for task in dag.tasks},
    "timeouts": [task.task_id for task in dag.tasks if task.execution_timeout is None],
    "alerted": [task.task_id for task in dag.tasks if task.on_failure_callback],
}))
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """The DAGs as a process that parses them sees them."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(CHECKOUT),
    }
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    return all_graphs(CHECKOUT)


def task_id(name: str) -> str:
    """The task of a stage instance."""
    stage, _, instance = name.partition("@")
    return f"{stage}.{instance}" if instance else stage


def test_parsing_loads_nothing_heavy(probe: dict[str, object]) -> None:
    assert probe["heavy"] == []
    assert isinstance(probe["seconds"], float)
    assert probe["seconds"] < 2
    assert probe["dags"] == ["refresh_data", "retrain", "rollback"]


@pytest.mark.parametrize("profile", ["small", "real", "paper-004"])
def test_edges_between_a_profiles_tasks_are_dvcs(
    probe: dict[str, dict[str, list[str]]], graphs: Graphs, profile: str
) -> None:
    nodes = graphs[profile]
    names = {task_id(node.name) for node in nodes}
    for node in nodes:
        found = set(probe["edges"][task_id(node.name)]) & names
        assert found == {task_id(above) for above in node.upstream}


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


def test_prepare_comes_first_and_commit_last(probe: dict[str, dict[str, list[str]]]) -> None:
    edges = probe["edges"]
    assert edges["prepare"] == []
    assert edges["commit"] == ["register"]
    assert all(above for task, above in edges.items() if task != "prepare")


def test_training_waits_for_an_accelerator(probe: dict[str, dict[str, str]]) -> None:
    pooled = {task for task, pool in probe["pools"].items() if pool == "accelerator"}
    graphs = load(CHECKOUT / "dags" / "stages.json")
    stages = ("train", "fine_tune", "calibrate", "calibrate_fine_tuned")
    trained = {task_id(node.name) for nodes in graphs.values() for node in nodes if node.stage in stages}
    assert {task.partition(".")[2] for task in trained} >= CODECS.keys()
    assert pooled == trained


def test_every_task_is_tried_again_in_bounded_time_and_alerts(probe: dict[str, dict[str, int]]) -> None:
    assert min(probe["retries"].values()) == 2
    assert not probe["timeouts"]
    assert sorted(probe["alerted"]) == sorted(probe["edges"])


def test_stages_json_is_current(graphs: Graphs) -> None:
    assert (CHECKOUT / "dags" / "stages.json").read_text() == dump(graphs)


def test_graphs_are_the_same_with_any_profile_in_use_and_with_a_variant_less(graphs: Graphs, tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "dvc.yaml", tmp_path)
    shutil.copytree(CHECKOUT / "profiles", tmp_path / "profiles")
    write_profile(tmp_path, "real", None)
    assert all_graphs(tmp_path) == graphs
    write_profile(tmp_path, "small", None)
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("- webp\n", ""))
    assert all_graphs(tmp_path) == graphs
    (tmp_path / "params.yaml").write_text(text.replace("  nowcae:\n", "  novel:\n"))
    own = dict(all_graphs(tmp_path))
    assert "train@novel" in {node.name for node in own.pop("params.yaml")}
    assert own == graphs


def test_graphs_survive_their_file(tmp_path: Path) -> None:
    graphs = {"one": [StageNode("a@x", (), {}), StageNode("b", ("a@x",), {"accelerator": True})]}
    (tmp_path / "stages.json").write_text(dump(graphs))
    assert load(tmp_path / "stages.json") == graphs


def test_a_union_has_the_edges_of_all_and_upstream_first() -> None:
    graphs = {
        "one": [StageNode("b", ("a",), {}), StageNode("a", (), {})],
        "two": [StageNode("c", (), {}), StageNode("b", ("c",), {})],
    }
    merged = union(graphs)
    assert [node.name for node in merged] == ["a", "c", "b"]
    assert merged[-1].upstream == ("a", "c")


PREPARE = """
import json, os
from dags.retrain import dag
prepare = dag.get_task("prepare")
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


def test_a_failure_reaches_the_webhook(tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", ALERT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "dag": "retrain",
        "run": "weekly",
        "task": "train.wcae",
        "tries": 3,
        "error": "no memory left",
    }
    assert "train.wcae failed after 3 tries: no memory left" in done.stdout + done.stderr
    assert "the alert did not reach" in done.stdout + done.stderr
