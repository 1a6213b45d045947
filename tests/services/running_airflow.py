"""A real Airflow for tests, started like `make airflow`."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WAIT_S, RUN_S = 600, 1800
"""Seconds for one step, and for a whole run, on a machine that does much else."""


@dataclass
class Retraining:
    """A run that was started like `make retrain`, and the file with what that said so far."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def run_id(self) -> str:
        """Airflow's id of the run; an empty text before Airflow gave it."""
        found = re.search(r"retrain\S*: (manual__[^\s,]+),", self.log.read_text())
        return found[1] if found else ""

    def goes_on(self) -> bool:
        """Whether the run has not ended."""
        return self.process.poll() is None

    def finish(self) -> str:
        """Wait for the run's success; returns what was said."""
        self.process.wait(RUN_S)
        assert self.process.returncode == 0, self.log.read_text()
        return self.log.read_text()


@dataclass
class Airflow:
    """A running Airflow."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[str]
    started: list[Retraining] = field(default_factory=list)

    def retrain(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Start a retraining and follow it, like `make retrain`."""
        return subprocess.run(
            self.command("retrain", *options),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_S,
        )

    def start(self, *options: str) -> Retraining:
        """Start a retraining like `make retrain`."""
        handle, name = tempfile.mkstemp(dir=self.environment["AIRFLOW_HOME"], suffix=".log")
        with os.fdopen(handle, "w") as log:
            process = subprocess.Popen(
                self.command("retrain", *options),
                cwd=self.folder,
                env=self.environment | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
                stdout=log,
                stderr=log,
            )
        self.started.append(Retraining(process, Path(name)))
        return self.started[-1]

    def end_runs(self) -> None:
        """End what a failed test left running: its runs fail, their tasks end, and nobody follows them."""
        for run in self.started:
            if run.goes_on():
                found = re.search(r"(retrain\S*): (manual__[^\s,]+),", run.log.read_text())
                if found:
                    path = f"/api/v2/dags/{found[1]}/dagRuns/{found[2]}"
                    self.ask(f"api.call('PATCH', {path!r}, {{'state': 'failed'}})")
                else:
                    run.process.terminate()
                run.process.wait(WAIT_S)
        self.started.clear()

    def runs(self, dag: str) -> dict[str, str]:
        """The types of a DAG's runs by their ids."""
        found = self.ask(f"api.call('GET', '/api/v2/dags/{dag}/dagRuns')['dag_runs']")
        return {run["dag_run_id"]: run["run_type"] for run in found}

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        return list(self.ask(f"api.tasks({dag!r}, {run_id!r})"))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pipeline.schedule.local_airflow", *arguments]

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    def ask(self, expression: str) -> Any:
        """The value of a Python expression over `api`, a session with this Airflow."""
        imports = "import json; from pipeline.schedule.airflow_api import Api; "
        probe = f"{imports}api = Api(); print(json.dumps({expression}))"
        done = subprocess.run(
            [sys.executable, "-c", probe],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=RUN_S,
        )
        return json.loads(done.stdout.splitlines()[-1])

    def processes(self) -> list[int]:
        """Ids of the processes in this Airflow's environment."""
        mark = f"AIRFLOW_HOME={self.environment['AIRFLOW_HOME']}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (
                    mark in (folder / "environ").read_bytes()
                    and b"pipeline.schedule.local_airflow" not in (folder / "cmdline").read_bytes()
                ):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def task_log(self, task: str, run: str = "*") -> str:
        """The log of all tries of a task."""
        files = Path(self.environment["AIRFLOW_HOME"]).glob(f"logs/dag_id=*/run_id={run}/task_id={task}/*.log")
        return "\n".join(path.read_text() for path in sorted(files))


@contextmanager
def running_airflow(folder: Path, environment: dict[str, str], home: Path) -> Iterator[Airflow]:
    """Airflow on the checkout `folder` with its files in `home`; its schedules are a year away."""
    apart = {
        "AIRFLOW_HOME": str(home),
        "RATEWRIGHT_AIRFLOW_PORT": str(free_port()),
        "RATEWRIGHT_REFRESH_CRON": "0 0 1 1 *",
        "RATEWRIGHT_RETRAIN_CRON": "0 0 1 1 *",
        "SHELL": "/bin/sh",  # as where nobody logged in: stages must end with their dvc under any shell
    }
    log = home / "up.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "pipeline.schedule.local_airflow", "up"]
        process = subprocess.Popen(command, cwd=folder, env=environment | apart, stdout=out, stderr=out, text=True)
    try:
        wait_for(lambda: "password" in log.read_text(), lambda: process.poll() is None, log)
        yield Airflow(folder, environment | apart, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_S)


def draw_dags(folder: Path, environment: dict[str, str]) -> None:
    """Write and commit dags/stages.json, like `make graph`."""
    for command in (
        [sys.executable, "-m", "pipeline.schedule.dvc_graph", "--write"],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "graphs"],
    ):
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(holds: Callable[[], Any], goes_on: Callable[[], bool], log: Path | None = None) -> None:
    """Wait until something holds.

    Args:
        holds: Whether it does.
        goes_on: Whether it still can; the wait ends early if not.
        log: A file that says why not.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        possible = goes_on()
        if holds():
            return
        said = log.read_text() if log else ""
        assert possible, f"it cannot hold any more\n{said}"
        assert time.monotonic() < deadline, f"not within {WAIT_S} s\n{said}"
        time.sleep(0.2)


def command_of(pid: int) -> bytes:
    """The command line of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
