"""The command `ratewright repro`: its exit, its lines, its table on a terminal, the progress that stages tell it."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.cli.repro_display import LiveTable, duration, tail
from pipeline.config.params import loads
from pipeline.schedule.local.demands import capacity, demands
from pipeline.schedule.local.repro import Plan
from pipeline.schedule.local.runner import Demand, Outcome, Result
from pipeline.schedule.local.stage_run import StageRun
from pipeline.schedule.machine import gpus
from pipeline.schedule.stage_nodes import StageNode
from pipeline.terminal import PROGRESS_VARIABLE, progress
from tests.forks import Forks
from tests.pipeline.schedule.small_repository import PATIENCE_S, SmallRepository, wait_for
from tests.small_profile import small_text

STAGES = """
  first:
    cmd: echo a line; echo 1 > out/first
    outs: [out/first]
  bad:
    cmd: "test -e go || { echo error: no luck; exit 2; }; cp out/first out/bad"
    deps: [out/first]
    outs: [out/bad]
  slow:
    cmd: "echo $$ > slow.pid; test -e go || exec sleep 600; cp out/bad out/slow"
    deps: [out/bad]
    outs: [out/slow]
"""


def test_a_failure_is_shown_with_its_log_and_the_same_command_goes_on(tmp_path: Path, python: Forks) -> None:
    repository = SmallRepository(tmp_path / "repository", STAGES, python)

    (repository.root / "params.yaml").write_text(small_text())

    def run(*arguments: str) -> tuple[int, str, str]:
        """Exit code, what it said, and its errors."""
        environment = repository.environment
        done = python("pipeline.cli", "repro", *arguments, cwd=repository.root, environment=environment)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    code, said, errors = run("--jobs", "1")
    assert (code, errors) == (
        2,
        "error: bad failed: no luck; 1 stages were not started. The same command goes on\n",
    )
    assert f"lines of {repository.root / 'work' / 'logs' / 'bad.log'}\n" in said
    assert "\nerror: no luck\n" in said
    (repository.root / "go").touch()
    code, said, errors = run("bad")
    assert (code, errors) == (0, "")
    assert said.splitlines()[-1].startswith("finished  bad in ")
    code, _, errors = run("nothing")
    assert code == 2
    assert errors.startswith("error: dvc: ")
    assert errors.count("\n") == 1


def test_ctrl_c_in_a_terminal(tmp_path: Path, python: Forks) -> None:
    """Ctrl-C reaches what is in the foreground; the stages are not, and are asked to end."""
    repository = SmallRepository(tmp_path / "repository", STAGES.replace("test -e go || {", "true || {"), python)
    ours, theirs = pty.openpty()
    (repository.root / "params.yaml").write_text(small_text())
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "repro"],
        cwd=repository.root, env=repository.environment | {"TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = bytearray()

    def read() -> None:  # all the time: a terminal that nobody reads holds up who writes to it
        with suppress(OSError):  # the end of a terminal that nobody has open
            while True:
                shown.extend(os.read(ours, 1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    stage = repository.pid("slow.pid")
    wait_for(lambda: re.search(rb"slow .*running", shown) is not None, "the table shows the stage")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 128 + signal.SIGINT
    reader.join()
    os.close(ours)
    wait_for(lambda: not Path(f"/proc/{stage}").exists(), "the stage ends")
    assert b"stopped   slow in" in shown
    assert b"stopped. The same command goes on" in shown
    assert b"2 of 3 done, about" in shown


class Telling(StageRun):
    """A stage that runs nowhere, with the progress file of one that does."""

    def __init__(self, file: Path):
        self.state, self._progress = "running", file


def test_the_table_has_what_runs_with_its_progress_and_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, str(tmp_path / "file"))
    with progress("train wcae") as bar:
        bar.note("train wcae step 30")
        bar(30, 120)
        bar(31, 120)  # too soon to be written again
    assert json.loads((tmp_path / "file").read_text()) == ["train wcae step 30", 30, 120]
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    table = LiveTable(console)
    names = ["train@wcae", "fetch@a", "choose", *(f"evaluate@{n}" for n in range(9))]
    nodes = [StageNode(name, ()) for name in names]
    table.begin(Plan(tuple(nodes), frozenset("xyz"), (), frozenset()), dict.fromkeys(names, 300.0), 2)
    table.started(nodes[0], Telling(tmp_path / "file"))
    table.started(nodes[1], Telling(tmp_path / "none"))
    table.refresh()
    table.ended(nodes[1], Outcome(Result.CACHED, 2.0))
    table.end()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "3 stages unchanged, 12 to look at, 2 at a time" in shown
    row, other = (next(line for line in shown.splitlines() if line.lstrip().startswith(name)) for name in names[:2])
    assert "5 min" in row
    assert "train wcae step 30" in row
    assert "running" in other
    assert "0 of 12 done, about 30 min left; waiting: choose, evaluate@0, evaluate@1, evaluate@2 and 6 more" in shown
    assert "cached    fetch@a in 2.0 s (1 of 12)" in shown


@pytest.mark.parametrize(("seconds", "words"), [(8.4, "8 s"), (130.0, "2 min"), (9000.0, "2.5 h")])
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_tail_of_a_log_is_short_and_has_no_progress_bars(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(99)) + "\n1 of 2\r2 of 2\nthe end\n")
    shown = tail(log).splitlines()
    assert len(shown) == 20
    assert shown[-3:] == ["line 98", "2 of 2", "the end"]
    assert "No such file" in tail(tmp_path / "none")


def test_what_trainings_take_of_the_machine() -> None:
    base = small_text().replace("resources: {}", "")
    nodes = [StageNode(f"{stage}@wcae", (), accelerator=stage == "train") for stage in ("train", "evaluate")]

    def taken(resources: str, machine: Demand) -> dict[str, Demand]:
        return demands(loads(f"{base}\n{resources}"), nodes, machine)

    assert taken("resources: {}", Demand(4)) == {}
    assert taken("resources: {default: {workers: 3}}", Demand(4)) == {"train@wcae": Demand(slots=3)}
    assert taken("resources: {}", Demand(8, gpus=4)) == {"train@wcae": Demand(gpus=4)}
    assert taken("resources: {wcae: {workers: 2}}", Demand(8, gpus=4)) == {"train@wcae": Demand(gpus=2)}
    on_ray = loads(base.replace("launcher: local", "launcher: ray"))
    assert demands(on_ray, nodes, Demand(8, gpus=4)) == {}
    assert capacity(on_ray).gpus == 0


def test_as_many_stages_as_the_cores_have_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    for threads, slots in ((1, 6), (2, 3), (4, 1), (8, 1)):
        settings = loads(small_text().replace("threads: 1", f"threads: {threads}"))
        assert capacity(settings).slots == slots
        assert capacity(settings, jobs=5).slots == 5


def test_gpus_are_counted_as_far_as_they_are_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == 0
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: H200'\necho 'GPU 1: H200'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == 2
    for visible, count in (("1", 1), ("", 0), ("0,1", 2)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus() == count
