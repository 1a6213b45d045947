"""A real Airflow for tests, started like `make airflow`."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S, RUN_S = 180, 900


@dataclass
class Airflow:
    """A running Airflow."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[str]

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
    }
    log = home / "up.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "pipeline.schedule.local_airflow", "up"]
        process = subprocess.Popen(command, cwd=folder, env=environment | apart, stdout=out, stderr=out, text=True)
    try:
        wait_for(lambda: "password" in log.read_text() or process.poll() is not None, START_S)
        assert process.poll() is None, log.read_text()
        yield Airflow(folder, environment | apart, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(holds: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def command_of(pid: int) -> bytes:
    """The command line of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
