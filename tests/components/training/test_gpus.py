"""Leases of GPUs that need not exist: names under which processes lock files."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.training import gpus
from components.training.gpus import leased, visible

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from components.training.gpus import leased
with leased(int(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3])) as taken:
    print(",".join(taken), flush=True)
    sys.stdin.readline()
"""


class Holder:
    """A process that leases GPUs until it is told to end."""

    def __init__(self, count: int, names: str, folder: Path):
        command = [sys.executable, "-c", HOLDER, str(count), names, str(folder)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def taken(self) -> list[str]:
        """What it has, as soon as it has it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip().split(",")

    def end(self) -> None:
        if not self.process.stdin or self.process.stdin.closed:
            return
        self.process.communicate("\n")


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], Holder]]:
    monkeypatch.setattr(gpus, "_AGAIN_S", 0.02)
    started: list[Holder] = []

    def start(count: int, names: str) -> Holder:
        started.append(Holder(count, names, tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.end()


Start = Callable[[int, str], Holder]


def test_no_two_have_the_same(holder: Start, tmp_path: Path) -> None:
    holders = [holder(1, "a,b,c") for _ in range(2)]
    taken = [name for each in holders for name in each.taken()]
    with leased(1, ["a", "b", "c"], tmp_path) as own:
        assert sorted([*taken, *own]) == ["a", "b", "c"]
    with leased(1, ["a", "b", "c"], tmp_path) as own:
        assert not set(own) & set(taken), "what was given back is free, and nothing else"


def test_who_wants_two_waits_for_both(holder: Start, tmp_path: Path) -> None:
    one, other = holder(1, "a"), holder(1, "b")
    assert one.taken() + other.taken() == ["a", "b"]
    both = holder(2, "a,b")
    with pytest.raises(subprocess.TimeoutExpired):
        both.process.wait(0.5)
    one.end()
    with leased(1, ["a"], tmp_path):  # who waits has half of it only while it looks
        other.end()
        with pytest.raises(subprocess.TimeoutExpired):
            both.process.wait(1.5)
    assert both.taken() == ["a", "b"]


def test_the_locks_of_the_killed_are_free(holder: Start, tmp_path: Path) -> None:
    killed = holder(2, "a,b")
    assert killed.taken() == ["a", "b"]
    started = time.monotonic()
    killed.process.send_signal(signal.SIGKILL)
    with leased(2, ["a", "b"], tmp_path) as own:
        assert own == ["a", "b"]
    assert time.monotonic() - started < 10


def test_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible(3) == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8f,2")
    assert visible(3) == ["5", "GPU-8f", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,-1,2")
    assert visible(1) == ["5"], "as CUDA does, which stops at what is no GPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible(0) == []
