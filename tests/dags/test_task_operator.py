"""The operator of tasks, run for real: what a command can read of Airflow's secrets.

The second account is `nobody`, which every Linux has.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

MARK = "known-only-to-airflow"
SECRETS = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://airflow:{MARK}-database@postgres/airflow",
    "AIRFLOW__CORE__FERNET_KEY": f"{MARK}-fernet",
    "AIRFLOW__API__SECRET_KEY": f"{MARK}-api",
    "AIRFLOW__API_AUTH__JWT_SECRET": f"{MARK}-tokens",
    "RATEWRIGHT_ALERT_WEBHOOK": f"https://example.org/{MARK}-webhook",
    "NOT_YET_INVENTED": f"{MARK}-later",
}
STAGES = {"AWS_SECRET_ACCESS_KEY": "a", "MLFLOW_TRACKING_PASSWORD": "b", "RATEWRIGHT_BRANCH": "c", "RAY_ADDRESS": "d"}

RUN = """
import os, sys
from dags._render import prepare_task, worker_task
task = prepare_task("small") if sys.argv[1] == "prepare" else worker_task("task", "stage", facts={"GIVEN": "e"})
task.bash_command = sys.argv[2]
print("HOME at first:", task.get_env({})["HOME"])
print("returned:", task.execute({}))
"""

LOOK = rf"""
echo "account $(id -u), groups $(id -G), HOME $HOME"
grep -E '^(CapPrm|CapEff|CapAmb|NoNewPrivs)' /proc/self/status | tr -d '\t '
echo names $(env | cut -d= -f1)
echo in its own: $(env | grep -o '{MARK}-[a-z]*')
echo in others: $(cat /proc/[0-9]*/environ 2>/dev/null | grep -ao '{MARK}-[a-z]*' | sort -u)
"""

as_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root may start a command under another account"
)


def run(tmp_path: Path, kind: str, command: str, **settings: str) -> str:
    """What a task says whose Airflow holds `SECRETS`, `STAGES` and `settings` in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RATEWRIGHT_")}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",  # lets an operator run outside a task runner
        "PYTHONPATH": str(CHECKOUT),
        "RATEWRIGHT_WORKSPACE": "/",  # a folder that other accounts may enter
        **SECRETS,
        **STAGES,
        **settings,
    }
    started = [sys.executable, "-c", RUN, kind, command]
    done = subprocess.run(started, cwd="/tmp", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def line(said: str, start: str) -> list[str]:
    """The words after `start` in what a command said."""
    [found] = [each for each in said.splitlines() if f"] {start}" in each]
    return found.split(f"] {start}")[1].split(" [airflow")[0].split()


@pytest.fixture(scope="module")
def look_of_another(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the command `LOOK` says under another account."""
    return run(tmp_path_factory.mktemp("airflow"), "worker", LOOK, RATEWRIGHT_TASK_ACCOUNT="nobody")


def test_a_command_of_airflows_account_reads_its_secrets(tmp_path: Path) -> None:
    """What the other tests would find if the account, or the environment, were the same."""
    said = run(tmp_path, "worker", LOOK)
    assert len(line(said, "in its own:")) == len(SECRETS)
    assert len(line(said, "in others:")) == len(SECRETS)


@as_root
def test_a_command_of_another_account_reads_no_secret_anywhere(look_of_another: str) -> None:
    assert line(look_of_another, "account 65534, groups") == ["65534,", "HOME", "/nonexistent"]
    assert line(look_of_another, "in its own:") == []
    assert line(look_of_another, "in others:") == []
    assert {"GIVEN", "PATH", *STAGES} <= set(line(look_of_another, "names"))
    assert not SECRETS.keys() & set(line(look_of_another, "names"))


@as_root
def test_a_command_of_another_account_has_no_rights_left(look_of_another: str) -> None:
    for kind in ("CapPrm", "CapEff", "CapAmb"):
        assert line(look_of_another, f"{kind}:") == ["0000000000000000"]
    assert line(look_of_another, "NoNewPrivs:") == ["1"]


@as_root
def test_the_whole_command_runs_under_the_account(tmp_path: Path) -> None:
    said = run(tmp_path, "worker", 'true; echo "it\'s $(id -u)" | cat', RATEWRIGHT_TASK_ACCOUNT="nobody")
    assert "returned: it's 65534" in said


@as_root
def test_bash_reads_no_bashrc_of_the_account_before_it_is_the_account(look_of_another: str) -> None:
    assert f"HOME at first: {os.environ['HOME']}\n" in look_of_another


@as_root
def test_the_plan_comes_from_another_account(tmp_path: Path) -> None:
    write = 'echo a plan > "$RATEWRIGHT_PLAN_FILE"; touch "$RATEWRIGHT_PLAN_FILE.more" || echo none beside it'
    said = run(tmp_path, "prepare", write, RATEWRIGHT_TASK_ACCOUNT="nobody")
    assert "returned: a plan\n" in said
    assert "none beside it" in said
