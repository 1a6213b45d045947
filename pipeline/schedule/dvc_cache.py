"""Objects in DVC's cache that no commit, no run and no file of the workspace needs."""

import re
from collections.abc import Sequence
from pathlib import Path

from components.errors import RatewrightError
from components.storage.atomic import read_json
from pipeline.paths import Layout
from pipeline.schedule.git import RUNS, Repository

_NAMES = ("*dvc.lock", "*.dvc")
"""Git's patterns for the files in which DVC notes the hashes of what it tracks."""
_HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")


def unneeded_objects(root: Path, runs: Sequence[str]) -> list[Path]:
    """The objects whose hashes no dvc.lock and no .dvc file has, in any commit or in the workspace.

    `dvc gc --all-commits` reads the stages of one commit after another, which takes minutes; a hash that a dvc.lock has
    for a stage that is gone counts here, and not there.

    Args:
        root: The checkout, whose cache lies in it.
        runs: Refs of runs whose commits are needed.

    Returns:
        Folders' objects first: without one, nothing needs those of its files.

    Raises:
        RatewrightError: Git fails.
    """
    found = {path.parent.name + path.name: path for path in sorted((cache_folder(root) / "files" / "md5").glob("??/*"))}
    needed = _noted(Repository(root), runs)
    for name in [name for name in needed if name.endswith(".dir") and name in found]:
        needed.update(_HASH.findall(found[name].read_text()))
    unneeded = [name for name in found if name not in needed and _HASH.fullmatch(name)]
    return [found[name] for name in sorted(unneeded, key=lambda name: not name.endswith(".dir"))]


def remove_unneeded(root: Path, runs: Sequence[str]) -> None:
    """Remove what is unneeded, while no command of DVC can add to the cache. Args and Raises as above."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo, repo.lock:
            for path in unneeded_objects(root, runs):
                path.unlink(missing_ok=True)
    except DvcException as error:
        raise RatewrightError(f"DVC's cache: {error}") from error


def is_shared(root: Path) -> bool:
    """Whether the cache lies outside the checkout: other repositories may need what it holds."""
    return not cache_folder(root).is_relative_to(root.resolve())


def cache_folder(root: Path) -> Path:
    """DVC's cache of the checkout."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return Path(repo.cache.local_cache_dir).resolve()


def _noted(repository: Repository, runs: Sequence[str]) -> set[str]:
    """Every hash in DVC's files: of all refs but other runs', of the workspace, of unfinished experiments."""
    history = ("log", "--full-history", "-m", "--root", "--raw", "--no-renames", "--no-abbrev", "--format=")
    changes = repository.git(*history, f"--exclude={RUNS}*", "--all", *runs, "--", *_NAMES)
    blobs = {line.split()[3] for line in changes.splitlines() if line}
    text = repository.git("cat-file", "--batch", feed="\n".join(blobs))  # a deleted file is one that is missing
    files = repository.git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_NAMES).split("\0")
    clones = [folder / "dvc.lock" for folder in Layout(repository.root).experiment_clones]
    for path in [*(repository.root / name for name in files if name), *clones]:
        text += path.read_text() if path.is_file() else ""
    return set(_HASH.findall(text))


def refuse_running_stages(root: Path) -> None:
    """Raise RatewrightError if a process of this machine runs a stage of the checkout, or of an experiment's clone.

    DVC notes there which process reads and writes which output; without one, both tables may be missing.
    """
    for folder in [root, *Layout(root).experiment_clones]:
        _refuse_use(folder / ".dvc" / "tmp" / "rwlock")


def _refuse_use(path: Path) -> None:
    """Raise RatewrightError if a process that DVC's list of files in use names still runs."""
    try:
        locks = read_json(path)
    except (FileNotFoundError, ValueError):  # DVC truncates the file while it writes it
        return
    writers = {name: [holder] for name, holder in locks.get("write", {}).items()}
    for name, held in [*writers.items(), *locks.get("read", {}).items()]:
        for holder in held:
            if Path(f"/proc/{holder['pid']}").exists():
                raise RatewrightError(f"{name} is in use by process {holder['pid']} ({holder['cmd']}): try again later")
