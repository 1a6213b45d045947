"""Parallel runs in bad weather: kills, other runs, full disks, what interrupted ones left. The same command goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import Forks
from tests.pipeline.schedule.small_repository import (
    PATIENCE_S,
    SmallRepository,
    ended,
    is_alive,
    killed_at_the_end,
    parent_of,
    wait_for,
)

STAGES = """
  slow:
    foreach: [a, b]
    do:
      cmd: "echo $$ > ${item}.pid; test -e go || exec sleep 600; cat source > out/${item}"
      outs: ["out/${item}"]
  last:
    cmd: cat out/a out/b > out/last
    deps: [out/a, out/b]
    outs: [out/last]
"""
BOTH = ("slow@a", "slow@b")


@pytest.fixture
def repository(tmp_path: Path, python: Forks) -> SmallRepository:
    """Two stages that last until `go` is there, and one that needs both."""
    made = SmallRepository(tmp_path / "repository", STAGES, python)
    made.environment["RATEWRIGHT_GRACE_S"] = "3"
    return made


def goes_on(repository: SmallRepository, unchanged: tuple[str, ...] = ()) -> None:
    """The same command finishes what is left, and DVC finds nothing to do."""
    (repository.root / "go").touch()
    done = repository.run()
    assert (done.status, done.error) == (0, "")
    assert done.unchanged == sorted(unchanged)
    assert done.ended == dict.fromkeys({*BOTH, "last"} - {*unchanged}, "ran")
    assert repository.out("last") == "one\none\n"
    assert repository.dvc("status") == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all(repository: SmallRepository, number: signal.Signals) -> None:
    process = repository.start()
    with killed_at_the_end(process):
        stages = [repository.pid("a.pid"), repository.pid("b.pid")]
        process.send_signal(number)
        done = ended(process)
    assert done.ended == dict.fromkeys(BOTH, "stopped")
    assert done.never_started == ["last"]
    assert not any(map(is_alive, stages))
    goes_on(repository)


def test_a_killed_run_takes_its_stages_along(repository: SmallRepository) -> None:
    process = repository.start()
    with killed_at_the_end(process):
        stages = [repository.pid("a.pid"), repository.pid("b.pid")]
        process.kill()
        process.communicate()
    wait_for(lambda: not any(map(is_alive, stages)), "the stages end")
    goes_on(repository)


def test_a_killed_dvc_takes_its_stage_along(repository: SmallRepository) -> None:
    process = repository.start()
    with killed_at_the_end(process):
        first, second = repository.pid("a.pid"), repository.pid("b.pid")
        os.kill(parent_of(first), signal.SIGKILL)
        wait_for(lambda: not is_alive(first), "the stage ends")
        (repository.root / "go").touch()
        os.kill(second, signal.SIGKILL)
        done = ended(process)
    assert done.ended == dict.fromkeys(BOTH, "failed")
    assert done.why == {
        "slow@a": "its dvc was killed by SIGKILL (no memory left?)",
        "slow@b": "its command was killed by SIGKILL (no memory left?)",
    }
    goes_on(repository)


def test_a_second_run_is_refused_in_one_line(repository: SmallRepository) -> None:
    first = repository.start()
    with killed_at_the_end(first):
        assert repository.pid("a.pid") != repository.pid("b.pid")
        second = repository.run()
        assert second.status == 2
        assert second.error == (
            f"error: another run (process {first.pid}) works in this checkout: wait for it or stop it\n"
        )
        first.send_signal(signal.SIGINT)
        assert ended(first).ended == dict.fromkeys(BOTH, "stopped")
    goes_on(repository)


def test_a_stage_that_another_dvc_runs_is_waited_for(repository: SmallRepository) -> None:
    other = subprocess.Popen(
        ["dvc", "repro", "-q", "slow@a"], cwd=repository.root, env=repository.environment, text=True
    )
    with killed_at_the_end(other):
        stage = repository.pid("a.pid")
        (repository.root / "go").touch()
        process = repository.start()
        with killed_at_the_end(process):
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(3)]
            while not any("waits" in line for line in said):
                said.append(process.stdout.readline())
                assert said[-1], said
            os.kill(stage, signal.SIGKILL)
            assert other.wait(PATIENCE_S) != 0
            done = ended(process)
    waits = [line for line in said if "waits" in line]
    assert len(waits) == 1
    assert waits[0].startswith("slow@a waits: ")
    assert f"(PID {other.pid}): " in waits[0]
    assert done.status == 0
    goes_on(repository, (*BOTH, "last"))


def test_dvc_beside_a_run_loses_nothing(repository: SmallRepository) -> None:
    """Both write dvc.lock, the plain one while a stage of the parallel run runs."""
    repository.write(STAGES + "  apart:\n    cmd: echo 1 > out/apart\n    outs: [out/apart]\n")
    process = repository.start("slow")
    with killed_at_the_end(process):
        stages = [repository.pid("a.pid"), repository.pid("b.pid")]
        repository.dvc("repro", "-q", "apart")
        for stage in stages:
            os.kill(stage, signal.SIGSTOP)
        (repository.root / "go").touch()
        process.send_signal(signal.SIGINT)
        assert ended(process).ended == dict.fromkeys(BOTH, "stopped"), "a stopped process is killed"
    goes_on(repository, ("apart",))


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("left", ["of a dead process", "of a number that another process has", "cut off", "empty"])
def test_what_an_interrupted_dvc_left(repository: SmallRepository, left: str) -> None:
    path = repository.root / ".dvc" / "tmp" / "rwlock"
    holder = dead() if left == "of a dead process" else os.getpid()
    info = {"pid": holder, "cmd": "dvc repro"}
    files = {str(repository.root / "out" / "a"): info}
    text = json.dumps({"write": files, "read": {str(repository.root / "out" / "b"): [info]}})
    path.write_text({"cut off": text[:50], "empty": ""}.get(left, text))
    os.utime(path, (0, 0))  # before any process of today was started
    (path.parent / "lock").write_text(f" {holder}\n")
    goes_on(repository)


WIDE = """
  wide:
    cmd: "head -c 8000000 /dev/zero > out/wide"
    outs: [out/wide]
  small:
    cmd: "echo 1 > out/small"
    outs: [out/small]
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("to mount a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, python: Forks) -> None:
    repository = SmallRepository(small_disk / "repository", WIDE, python)
    done = repository.run(slots=1, keep_going=True)
    assert done.ended["wide"] == "failed"
    said = f"{done.why} {repository.log('wide')}"
    assert "No space left on device" in said
    for path in (small_disk / "repository" / "out").glob("wide"):
        path.unlink()
    repository.write(WIDE.replace("8000000", "800000"))
    done = repository.run()
    assert done.status == 0
    assert {**done.ended, **dict.fromkeys(done.unchanged, "ran")} == {"wide": "ran", "small": "ran"}
    assert repository.dvc("status") == "Data and pipelines are up to date.\n"


DUMP = """
import resource, sys
from dvc.repo import Repo, lock_repo
from pipeline.schedule.local.dvc_lock_file import use_own_entry
use_own_entry("last", [], [])
with Repo() as repo, lock_repo(repo):
    stage, = repo.stage.collect("last")
    stage.reproduce(force=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    try:
        stage.dump(update_pipeline=False)
    except OSError as error:
        sys.exit(error.errno)
"""


def test_a_write_that_fails_leaves_dvc_lock_whole(repository: SmallRepository) -> None:
    goes_on(repository)
    before = (repository.root / "dvc.lock").read_bytes()
    assert len(before) > 200
    (repository.root / "source").write_text("two\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n{DUMP}"],
        cwd=repository.root, env=repository.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 27, done.stderr  # EFBIG
    assert (repository.root / "dvc.lock").read_bytes() == before
    assert not list(repository.root.glob(".dvc.lock.*"))
