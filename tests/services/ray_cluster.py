"""A Ray cluster of two nodes on this machine, and the clients that start trainings on it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.services.running_airflow import wait_for

Line = dict[str, Any]

ROOT = Path(__file__).parents[2]
STEPS = 1500
"""Of a training: enough that it still runs when the test stops it, on a fast machine too."""
CONFIG = {
    "batch_size": 4,
    "learning_rate": 1e-3,
    "lmbda": 0.01,
    "steps": STEPS,
    "precision": "32-true",
    "validate_every": 20,
    "validation_patches": 4,
    "workers": 0,
}
STORAGE = "s3://store/some prefix"


class Client:
    """A process that starts a training on the cluster, and the lines that it prints."""

    def __init__(self, command: list[str], environment: dict[str, str]):
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        self.lines: list[Line] = []

    def until(self, met: Callable[[Line], bool]) -> Line:
        """Read lines up to the first that meets a condition; returns that one."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if met(self.lines[-1]):
                return self.lines[-1]
        raise AssertionError(f"no line met the condition: {self.lines}")

    def remark(self, part: str) -> str:
        return str(self.until(lambda line: part in line.get("remark", ""))["remark"])

    def row(self, step: int) -> None:
        """Wait for a validation at this step or later."""
        self.until(lambda line: "row" in line and line["row"]["step"] >= step)

    def end(self) -> Line:
        """Wait for the end of the process; returns its last line."""
        assert self.process.stdout is not None
        self.lines += [json.loads(text) for text in self.process.stdout]
        assert self.process.wait(60) == 0
        return self.lines[-1]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class Cluster:
    """A running cluster; its nodes and clients share `environment`."""

    address: str
    environment: dict[str, str]
    nodes: list["subprocess.Popen[bytes]"]
    shards: Path
    clients: ExitStack

    def client(
        self,
        fingerprint: str,
        *,
        storage: str = STORAGE,
        address: str | None = None,
        wait_s: float = 30.0,
        resources: dict[str, int] | None = None,
        environment: dict[str, str] | None = None,
        **config: float,
    ) -> Client:
        """Start the training of a fingerprint, with two workers unless `resources` has another number."""
        launcher = {
            "address": address or self.address,
            "resources": {"workers": 2, **(resources or {})},
            "storage": storage,
            "wait_s": wait_s,
        }
        job = {
            "name": f"train {fingerprint}",
            "fingerprint": fingerprint,
            "codec": "factorized",
            "shards": str(self.shards),
            "state": "/nowhere",
            "save_every_s": 1.0,
        }
        arguments = [json.dumps(each) for each in (launcher, job, {**CONFIG, **config})]
        command = [sys.executable, "-m", "tests.services.ray_client", *arguments]
        client = Client(command, {**self.environment, **(environment or {}), "PYTHONPATH": str(ROOT)})
        self.clients.callback(client.close)
        return client

    def processes(self, part: str) -> list[psutil.Process]:
        """Processes of the nodes with `part` in their command line."""
        found = []
        for node in self.nodes:
            for process in psutil.Process(node.pid).children(recursive=True):
                try:
                    if part in " ".join(process.cmdline()):
                        found.append(process)
                except psutil.NoSuchProcess:
                    pass
        return found


@contextmanager
def node(arguments: list[str], environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A node with one core; the node and its children end with the context."""
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1"]
    command += ["--object-store-memory=100000000", "--disable-usage-stats", *arguments]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=out, stderr=out)
    try:
        wait_for(lambda: "--block" in log.read_text(), lambda: process.poll() is None, log)
        yield process
    finally:
        started = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        for each in psutil.wait_procs(started, 10)[1]:
            each.kill()
        process.wait(30)
