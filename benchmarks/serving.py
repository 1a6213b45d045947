"""`ratewright serve` under clients that never pause, each answer checked against the installed package in this process.

    python -m benchmarks.serving FOLDER                                # 20 clients for a minute
    python -m benchmarks.serving FOLDER --seconds 600 --kill --json serving.json

Every client compresses a photograph of the folder, compares the stream with the package's own, decompresses it, and
compares the pixels. One that is told to wait (429) does. With --kill the service is killed (-9) at half time, and
started again once its workers are gone. Memory is the sum of the resident sets of all its processes, at its largest.
"""

import itertools
import os
import signal
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.common import command_line, console
from components.arrays import Rgb
from components.codecs.exported import ExportedCodec
from components.data.image_files import decode_rgb
from components.errors import RatewrightError
from components.storage.atomic import write_json
from components.storage.picture_names import PICTURE_SUFFIXES

PATIENCE_S = 120.0
WORKS = ("compress", "decompress")


@dataclass(frozen=True)
class Photograph:
    """A picture file, its stream and its decoded pixels, as the package has them."""

    file: bytes
    stream: bytes
    rgb: Rgb


@dataclass
class Tally:
    """What clients saw. Appending and counting are safe from several threads."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {work: [] for work in WORKS})
    outcomes: "Counter[str]" = field(default_factory=Counter)
    pixels: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, outcome: str) -> None:
        """Count an outcome."""
        with self.lock:
            self.outcomes[outcome] += 1


class Service:
    """The service in a process of its own, at one port for all its lives."""

    def __init__(self, codec: Path, options: list[str]):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._command = [sys.executable, "-m", "pipeline.cli", "-q", "serve", str(codec), f"--port={self._port}"]
        self._command += options
        self.url, self.peak_bytes, self.peak_server_bytes = f"http://127.0.0.1:{self._port}", 0, 0
        self.process = self._start()

    def restart(self) -> tuple[float, float]:
        """Kill the service. Returns the seconds until its workers were gone, and until it was ready again."""
        workers = self.process.children()
        began = time.monotonic()
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(workers, PATIENCE_S)
        gone_s = time.monotonic() - began
        self.process = self._start()
        self.wait()
        return gone_s, time.monotonic() - began

    def wait(self) -> None:
        """Wait until it is ready."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self.process.is_running():
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=10).status_code == 200:
                    return
            time.sleep(0.05)
        raise RatewrightError("the service did not start")

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return int(self.process.wait(PATIENCE_S))

    def watch(self, until: threading.Event) -> None:
        """Note its largest memory."""
        while not until.wait(0.2):
            with suppress(psutil.Error):
                server = self.process.memory_info().rss
                total = server + sum(worker.memory_info().rss for worker in self.process.children())
                self.peak_bytes = max(self.peak_bytes, total)
                self.peak_server_bytes = max(self.peak_server_bytes, server)

    def _start(self) -> psutil.Popen:
        return psutil.Popen(self._command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def client(number: int, url: str, photographs: list[Photograph], until: float, tally: Tally) -> None:
    """Compress and decompress photographs until a time."""
    turns = itertools.islice(itertools.cycle(photographs), number, None)
    with httpx.Client(base_url=url, timeout=PATIENCE_S) as http:
        while time.monotonic() < until:
            photograph = next(turns)
            stream = ask(http, "compress", photograph.file, tally)
            if stream is not None and stream != photograph.stream:
                tally.note("another stream")
            png = ask(http, "decompress", photograph.stream, tally)
            if png is not None and not np.array_equal(decode_rgb(png), photograph.rgb):
                tally.note("other pixels")
            answered = (stream is not None) + (png is not None)
            with tally.lock:
                tally.pixels += answered * photograph.rgb.shape[0] * photograph.rgb.shape[1]


def ask(http: httpx.Client, work: str, body: bytes, tally: Tally) -> bytes | None:
    """The answer to one request; None where there is none."""
    began = time.monotonic()
    try:
        answer = http.post(f"/{work}", content=body)
    except httpx.TransportError as error:
        tally.note(f"no connection ({type(error).__name__})")
        time.sleep(0.5)
        return None
    tally.note(str(answer.status_code))
    if answer.status_code == 200:
        tally.seconds[work].append(time.monotonic() - began)
        return answer.content
    time.sleep(float(answer.headers.get("retry-after", 0.5)))
    return None


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Percentiles of times, in seconds."""
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{percent}_s": round(cuts[percent - 1], 4) for percent in (50, 95, 99)}


def main() -> None:
    """Print what clients saw; the exit status is 1 if an answer was wrong."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="of photographs")
    parser.add_argument("--codec", type=Path, help="an exported folder; by default the flagship is exported")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--most", type=int, default=24, help="photographs")
    parser.add_argument("--kill", action="store_true", help="kill the service at half time, and start it again")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--options", nargs="*", default=[], help="of `ratewright serve`, such as workers=2")
    given = parser.parse_args()
    with TemporaryDirectory() as scratch:
        codec = given.codec or exported_flagship(Path(scratch) / "codec")
        paths = sorted(path for path in given.folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
        package = ExportedCodec(codec, threads=1)
        photographs = [expected(package, path) for path in paths[: given.most]]
        console.print(f"{len(photographs)} photographs, {given.clients} clients, {given.seconds:g} s")
        figures = measured(codec, photographs, given.clients, given.seconds, given.kill, given.options)
    for name, figure in figures.items():
        console.print(f"  {name}: {figure}")
    if given.json:
        write_json(given.json, figures)
    sys.exit(int(bool({"another stream", "other pixels"} & set(figures["outcomes"]))))


def measured(
    codec: Path, photographs: list[Photograph], clients: int, seconds: float, kill: bool, options: list[str]
) -> dict[str, Any]:
    """The figures of a service under clients."""
    service, tally, done = Service(codec, [f"--{option}" for option in options]), Tally(), threading.Event()
    try:
        service.wait()
        until, restart = time.monotonic() + seconds, {}
        with ThreadPoolExecutor(clients + 1) as pool:
            pool.submit(service.watch, done)
            began = time.monotonic()
            all_clients = [pool.submit(client, n, service.url, photographs, until, tally) for n in range(clients)]
            if kill:
                time.sleep(seconds / 2)
                gone_s, ready_s = service.restart()
                restart = {"workers_gone_s": round(gone_s, 3), "ready_again_s": round(ready_s, 3)}
            for each in all_clients:
                each.result()
            took = time.monotonic() - began
            done.set()
        status = service.stop()
    finally:
        done.set()
        with suppress(psutil.NoSuchProcess):
            service.process.kill()
    return {
        "clients": clients,
        "cores": len(os.sched_getaffinity(0)),
        "seconds": round(took, 1),
        "answers_per_s": round(tally.outcomes["200"] / took, 2),
        "megapixels_per_s": round(tally.pixels / took / 1e6, 3),
        **{work: percentiles(tally.seconds[work]) for work in WORKS},
        "outcomes": dict(sorted(tally.outcomes.items())),
        **({"restart": restart} if kill else {}),
        "peak_mb": round(service.peak_bytes / 1e6, 1),
        "peak_server_mb": round(service.peak_server_bytes / 1e6, 1),
        "exit_status": status,
    }


def expected(codec: ExportedCodec, path: Path) -> Photograph:
    """A photograph, as the package codes it."""
    file = path.read_bytes()
    stream = codec.encode(decode_rgb(file))
    return Photograph(file, stream, codec.decode(stream))


def exported_flagship(folder: Path) -> Path:
    """The kept run's codec, exported."""
    from components.codecs.checkpoint import load
    from components.codecs.export import export
    from pipeline.cli.codec_lookup import REFERENCE_CHECKPOINT

    export(load(REFERENCE_CHECKPOINT)[0], folder)
    return folder


if __name__ == "__main__":
    main()
