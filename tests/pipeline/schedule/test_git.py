"""Clones that were killed at any of their steps."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.schedule.git import RUNS, Repository

CHECKOUT = Path(__file__).resolve().parents[3]
GIT = shutil.which("git")

KILLER = f"""#!/bin/sh
echo >> "$CALLS"
{GIT} "$@"
[ "$(wc -l < "$CALLS")" -lt "$LAST" ] || kill -9 $PPID
"""
"""A git that kills the process that called it after its call number LAST."""

CLONE = "import sys; from pathlib import Path; from pipeline.schedule.git import Repository; " + (
    "Repository.clone(sys.argv[1], Path(sys.argv[2]))"
)


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """A repository with one commit, which a run uses."""
    origin = Repository(tmp_path / "origin")
    origin.root.mkdir()
    origin.git("init", "--quiet", "--initial-branch=main")
    (origin.root / "file").write_text("content")
    origin.git("add", "file")
    origin.git("-c", "user.name=test", "-c", "user.email=test@example.invalid", "commit", "--quiet", "-m", "start")
    origin.move({f"{RUNS}one": (None, origin.head())})
    return origin


def killed_clone(origin: Repository, into: Path, tools: Path, last: int) -> bool:
    """Clone in a process that is killed after `last` calls of git; False if it ended before."""
    tools.mkdir()
    (tools / "git").write_text(KILLER)
    (tools / "git").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
        "CALLS": str(tools / "calls"),
        "LAST": str(last),
    }
    command = [sys.executable, "-c", CLONE, str(origin.root), str(into)]
    return subprocess.run(command, env=environment, check=False).returncode == -9


def test_a_clone_killed_after_any_step_is_completed(origin: Repository, tmp_path: Path) -> None:
    last = 1
    while killed_clone(origin, tmp_path / f"clone{last}", tmp_path / f"tools{last}", last):
        clone = Repository.clone(str(origin.root), tmp_path / f"clone{last}")
        assert clone.commit_of(f"{RUNS}one") == origin.head()
        assert clone.default_branch() == "main"
        assert clone.git("config", "--get-all", "remote.origin.fetch").count(RUNS) == 2
        clone.git("checkout", "--quiet", "--detach", f"{RUNS}one")
        assert (clone.root / "file").read_text() == "content"
        last += 1
    assert last > 3


def test_locks_of_a_killed_git_are_removed(origin: Repository, tmp_path: Path) -> None:
    clone = Repository.clone(str(origin.root), tmp_path / "clone")
    for name in ("config.lock", "index.lock", "refs/remotes/origin/main.lock"):
        (clone.root / ".git" / name).touch()
    again = Repository.clone(str(origin.root), tmp_path / "clone")
    again.git("checkout", "--quiet", "--detach", f"{RUNS}one")
    assert again.head() == origin.head()


def test_nothing_is_checked_out_in_a_new_clone(origin: Repository, tmp_path: Path) -> None:
    assert Repository.clone(str(origin.root), tmp_path / "clone").head() == ""
