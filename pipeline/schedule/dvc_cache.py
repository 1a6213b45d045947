"""Objects in DVC's cache that no commit, no run and no file of the workspace needs."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.errors import RatewrightError
from components.storage.atomic import read_json
from pipeline.schedule.git import Repository

_PROTECTED = "refs/heads/ratewright-gc/"
"""Branches, while the cache is looked through: `dvc gc --all-commits` sees branches and tags, and no refs of runs."""
_REMOVING = "Removing "


def unneeded_objects(root: Path, runs: Sequence[str]) -> list[Path]:
    """The objects that `remove_unneeded` would remove.

    Args:
        root: The checkout.
        runs: Refs of runs whose commits are needed.

    Raises:
        RatewrightError: DVC refuses.
    """
    said = _gc(root, runs, "--dry")
    return [Path(line.removeprefix(_REMOVING)) for line in said.splitlines() if line.startswith(f"{_REMOVING}/")]


def remove_unneeded(root: Path, runs: Sequence[str]) -> None:
    """Remove what neither the workspace, nor a commit, nor an experiment, nor a run's ref needs. Args as above."""
    _gc(root, runs)


def is_shared(root: Path) -> bool:
    """Whether the cache lies outside the checkout: other repositories may need what it holds."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], cwd=root, capture_output=True, text=True, check=True
    )
    return not Path(done.stdout.strip()).resolve().is_relative_to(root.resolve())


def refuse_running_stages(root: Path) -> None:
    """Raise RatewrightError if a process of this machine runs a stage of the checkout.

    DVC notes there which process reads and writes which output; without one, both tables may be missing.
    """
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        locks = read_json(path)
    except (FileNotFoundError, ValueError):  # DVC truncates the file while it writes it
        return
    writers = {name: [holder] for name, holder in locks.get("write", {}).items()}
    for name, held in [*writers.items(), *locks.get("read", {}).items()]:
        for holder in held:
            if Path(f"/proc/{holder['pid']}").exists():
                raise RatewrightError(f"{name} is in use by process {holder['pid']} ({holder['cmd']}): try again later")


def _gc(root: Path, runs: Sequence[str], *options: str) -> str:
    keep = ("--workspace", "--all-commits", "--all-experiments")
    with _protected(Repository(root), runs):
        command = [sys.executable, "-m", "dvc", "gc", *keep, "--force", *options]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RatewrightError(f"dvc gc: {' '.join((done.stderr or done.stdout).split()[-40:])}")
    return done.stdout + done.stderr


@contextmanager
def _protected(repository: Repository, runs: Sequence[str]) -> Iterator[None]:
    """A branch for the commit of each run, as long as the context lasts."""
    _remove(repository)  # those of a call that was killed
    for number, ref in enumerate(runs):
        repository.git("update-ref", f"{_PROTECTED}{number}", ref)
    try:
        yield
    finally:
        _remove(repository)


def _remove(repository: Repository) -> None:
    for ref in repository.git("for-each-ref", "--format=%(refname)", _PROTECTED).splitlines():
        repository.git("update-ref", "-d", ref)
