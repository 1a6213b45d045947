"""A service in a process of its own, as a user starts it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120.0
"""Longest time that an event may take, on a machine that has much else to do."""


@dataclass
class Running:
    """A service that runs."""

    process: "subprocess.Popen[bytes]"
    log: Path
    http: httpx.Client

    def compress(self, picture: bytes, **options: int) -> httpx.Response:
        return self.http.post("/compress", content=picture, params=options)

    def decompress(self, stream: bytes, **options: str) -> httpx.Response:
        return self.http.post("/decompress", content=stream, params=options)

    def health(self) -> dict[str, object]:
        return dict(self.http.get("/health").json())

    def metric(self, name: str) -> float:
        """The value of a metric, with its labels as Prometheus writes them; 0 where there is none."""
        lines = self.http.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    def workers(self) -> list[psutil.Process]:
        """The oldest first: another one may be about to take its place."""
        found = psutil.Process(self.process.pid).children()
        return sorted(filter(lives, found), key=lambda each: float(each.create_time()))

    def worker(self) -> psutil.Process:
        """The process that answers, of a service with one worker."""
        return self.workers()[0]

    def kill_worker(self) -> None:
        """Kill the process that answers, and wait until the service has noticed it and has another."""
        ends = "ratewright_worker_ends_total"
        before = self.metric(ends)
        self.worker().kill()
        wait_for(lambda: self.metric(ends) > before and self.health()["workers"] == 1, "new worker")

    def stopped(self) -> int:
        """The exit status."""
        return self.process.wait(PATIENCE_S)


def lives(process: psutil.Process) -> bool:
    """Whether a process has not ended, whoever is to note that."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running(codec: str | Path, *options: str, **environment: str) -> Iterator[Running]:
    """A service of a codec at a free port, which has loaded it."""
    command = [sys.executable, "-m", "pipeline.cli", "serve", str(codec), "--port=0", "--workers=1", *options]
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder, **environment},
                stderr=written,
            )
        try:
            wait_for(lambda: b"http://" in log.read_bytes() or process.poll() is not None, "address")
            addresses = re.findall(r"http://\S+", log.read_text())
            assert addresses, log.read_text()
            with httpx.Client(base_url=addresses[0], timeout=PATIENCE_S) as http:
                wait_for(lambda: http.get("/health").status_code == 200, "model")
                yield Running(process, log, http)
        finally:
            process.kill()
            process.wait()


def wait_for(event: Callable[[], bool], what: str) -> None:
    """Wait until `event` is true."""
    until = time.monotonic() + PATIENCE_S
    while not event():
        assert time.monotonic() < until, f"no {what} in {PATIENCE_S} s"
        time.sleep(0.02)
