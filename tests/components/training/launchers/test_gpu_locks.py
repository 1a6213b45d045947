"""Locks of GPUs, by names of GPUs that need not exist."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.training.launchers.gpu_locks import visible_gpus

ROOT = Path(__file__).parents[4]
HOLDER = """
import sys
from pathlib import Path
from components.training.launchers import gpu_locks as gpus
for count in sys.argv[1].split(","):
    taken = gpus.acquire_gpus(int(count), sys.argv[2].split(","), Path(sys.argv[3]), retry_every_s=0.02)
    print(",".join(taken), flush=True)
sys.stdin.readline()
"""


class Holder:
    """A process that locks GPUs, one count of them after another, and ends when `end` is called."""

    def __init__(self, counts: str, names: str, folder: Path):
        command = [sys.executable, "-c", HOLDER, counts, names, str(folder)]
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


Start = Callable[[str, str], Holder]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Start]:
    started: list[Holder] = []

    def start(counts: str, names: str) -> Holder:
        started.append(Holder(counts, names, tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_no_two_have_the_same(holder: Start) -> None:
    holders = [holder("1", "a,b,c") for _ in range(3)]
    assert sorted(name for each in holders for name in each.taken()) == ["a", "b", "c"]


def test_a_process_that_needs_two_waits_for_both(holder: Start) -> None:
    one, other = holder("1", "a"), holder("1", "b")
    assert one.taken() + other.taken() == ["a", "b"]
    both = holder("2", "a,b")
    one.end()
    with pytest.raises(subprocess.TimeoutExpired):
        both.process.wait(0.5)
    third = holder("1", "a")
    assert third.taken() == ["a"], "a waiting process holds half of its GPUs only while it looks"
    third.end()
    other.end()
    assert both.taken() == ["a", "b"]


def test_a_process_keeps_what_it_has(holder: Start) -> None:
    each = holder("2,1,2", "a,b,c")
    assert [each.taken() for _ in range(3)] == [["a", "b"], ["a"], ["a", "b"]]


def test_the_locks_of_the_killed_are_free(holder: Start) -> None:
    killed = holder("2", "a,b")
    assert killed.taken() == ["a", "b"]
    killed.process.send_signal(signal.SIGKILL)
    assert holder("2", "a,b").taken() == ["a", "b"]


def test_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(3) == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8f,2")
    assert visible_gpus(3) == ["5", "GPU-8f", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,-1,2")
    assert visible_gpus(1) == ["5"], "as CUDA does, which stops at what is no GPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus(0) == []
