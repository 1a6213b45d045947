"""A small repository of git and DVC, whose stages are shell commands, and runs of its stages in parallel."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import environment_of
from tests.forks import Forks

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
"""Longest time that a test waits for something, on a machine that has much else to do."""

PROGRAM = """
import json, sys
from pathlib import Path
from pipeline.cli.repro_display import PlainLines
from pipeline.terminal import console, guarded
from pipeline.schedule.local.runner import Demand
from pipeline.schedule.local.repro import reproduce

slots, keep_going, *targets = sys.argv[1:]

def run():
    summary = reproduce(
        Path.cwd(), targets, Demand(int(slots)), lambda _: {}, PlainLines(console), keep_going=keep_going == "yes"
    )
    print(json.dumps({
        "ended": {name: [outcome.result.value, outcome.why] for name, outcome in summary.outcomes.items()},
        "unchanged": sorted(summary.plan.unchanged),
        "never started": summary.never_started,
        "stopped": summary.stopped,
    }))

guarded(run)
"""


@dataclass(frozen=True)
class Run:
    """A parallel run that ended.

    Attributes:
        status: Exit status of the process.
        said: Its lines.
        error: Its standard error.
        ended: Name -> result of each stage that was started.
        why: Name -> reason of each failure.
    """

    status: int
    said: list[str]
    error: str
    ended: dict[str, str]
    why: dict[str, str]
    unchanged: list[str]
    never_started: list[str]


class SmallRepository:
    """A repository in a folder, with files that stages read."""

    def __init__(self, root: Path, stages: str, python: Forks):
        """Make it.

        Args:
            root: A folder that does not exist.
            stages: The stages, as dvc.yaml has them under `stages`.
            python: Runs what is run to its end.
        """
        self.root, self.environment, self._python = root, environment_of(ROOT) | {"SHELL": "/bin/sh"}, python
        root.mkdir()
        (root / "source").write_text("one\n")
        (root / ".gitignore").write_text("/work/\n/out/\n")
        (root / "out").mkdir()
        self.write(stages)
        self.call("git", "init", "-q")
        with (root / ".git" / "config").open("a") as file:
            file.write("[user]\nname = test\nemail = test@example.invalid\n")
        self.dvc("init", "-q")
        self.call("git", "add", "-A")
        self.call("git", "commit", "-q", "-m", "stages")

    def write(self, stages: str) -> None:
        """Rewrite dvc.yaml."""
        (self.root / "dvc.yaml").write_text(f"stages:\n{stages}")

    def call(self, *command: str) -> str:
        """The output of a command that succeeds."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        """What a command of DVC said that succeeds."""
        return self._python.well("dvc", *arguments, cwd=self.root, environment=self.environment)

    def start(self, *targets: str, slots: int = 2, keep_going: bool = False) -> subprocess.Popen[str]:
        """Start a parallel run."""
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(slots), "yes" if keep_going else "no", *targets],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *targets: str, slots: int = 2, keep_going: bool = False) -> Run:
        """A parallel run to its end."""
        arguments = (str(slots), "yes" if keep_going else "no", *targets)
        done = self._python("-c", PROGRAM, *arguments, cwd=self.root, environment=self.environment)
        return outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def out(self, name: str) -> str:
        """The content of an output."""
        return (self.root / "out" / name).read_text()

    def log(self, stage: str) -> str:
        """The log of a stage."""
        return (self.root / "work" / "logs" / f"{stage}.log").read_text()

    def pid(self, name: str) -> int:
        """The number that a stage wrote into a file of its own, once it is there."""
        path = self.root / name
        wait_for(lambda: path.exists() and path.read_text().endswith("\n"), f"{name} is written")
        return int(path.read_text())

    def kept(self) -> dict[str, bytes]:
        """What a run leaves: dvc.lock, the outputs, and the names of all that is cached, of runs too."""
        files = [self.root / "dvc.lock", *(path for path in (self.root / "out").rglob("*") if path.is_file())]
        cache = self.root / ".dvc" / "cache"
        names = sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files} | {
            "cache": "\n".join(names).encode()
        }


def ended(process: subprocess.Popen[str], patience_s: float = PATIENCE_S) -> Run:
    """A parallel run, once it has ended."""
    said, error = process.communicate(timeout=patience_s)
    return outcome(process.returncode, said, error)


def outcome(status: int, said: str, error: str) -> Run:
    """A parallel run, by what it left."""
    lines = said.splitlines()
    facts = json.loads(lines.pop()) if lines and lines[-1].startswith("{") else {}
    results = facts.get("ended", {})
    return Run(
        status=status,
        said=lines,
        error=error,
        ended={name: result for name, (result, _) in results.items()},
        why={name: why for name, (_, why) in results.items() if why},
        unchanged=facts.get("unchanged", []),
        never_started=facts.get("never started", []),
    )


def wait_for(happened: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something happened; fail the test if it takes too long."""
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline, f"waited too long until {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def killed_at_the_end(*processes: subprocess.Popen[str]) -> Iterator[None]:
    """End processes that a failed test leaves."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()


def parent_of(pid: int) -> int:
    """The process that started another one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
