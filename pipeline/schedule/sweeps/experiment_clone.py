"""A clone in which an experiment runs: the files of a commit, other params, and the checkout's own DVC cache."""

from pathlib import Path
from typing import Any

from components.storage.atomic import write_bytes
from pipeline.config import params
from pipeline.paths import Layout
from pipeline.registry.client import uri
from pipeline.schedule.dvc_cache import cache_folder
from pipeline.schedule.git import Repository
from pipeline.schedule.run_commits import LOCK

_LINKS = "reflink,hardlink,symlink,copy"
"""How DVC puts files of the cache into a clone: data sets are there once, however many clones there are."""


def prepare(root: Path, folder: Path, commit: str, settings: str, lock: str) -> None:
    """Make the clone in `folder`, or bring the one that is there to this state. Every step can be repeated.

    The clone has no objects of its own: git and DVC read and write those of the checkout. What stages left unfinished
    in its work/ stays.

    Args:
        root: The checkout.
        folder: The folder of the clone. No other process may use it meanwhile.
        commit: The commit to check out.
        settings: The text of params.yaml.
        lock: The text of dvc.lock; empty for none.

    Raises:
        RatewrightError: Git fails.
    """
    repository = Repository(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in (folder / ".git").rglob("*.lock"):  # git leaves them where it is killed, and then refuses to work
        left.unlink()
    repository.git("init", "--quiet")
    objects = root / Repository(root).git("rev-parse", "--git-path", "objects")
    write_bytes(folder / ".git" / "objects" / "info" / "alternates", f"{objects.resolve()}\n".encode())
    repository.git("checkout", "--quiet", "--force", "--detach", commit)
    _share_cache(root, folder)
    _link_weights(Layout(root).weights, Layout(folder).weights)
    write_bytes(folder / params.FILE, settings.encode())
    if lock:
        write_bytes(folder / LOCK, lock.encode())
    else:
        (folder / LOCK).unlink(missing_ok=True)


def environment(root: Path, folder: Path, commit: str, name: str) -> dict[str, str]:
    """Variables of an experiment's stages: the clone's code, the checkout's MLflow, DVC's names for the experiment."""
    return {
        "PYTHONPATH": str(folder),
        "MLFLOW_TRACKING_URI": uri(root),
        "DVC_EXP_BASELINE_REV": commit,
        "DVC_EXP_NAME": name,
    }


def _share_cache(root: Path, folder: Path) -> None:
    """Give the clone the configuration of the checkout, whose relative paths become absolute, and the same cache."""
    from dvc.config import Config

    ours = Config(str(root / ".dvc"), validate=False)
    with Config(str(folder / ".dvc"), validate=False).edit("local") as theirs:
        theirs.clear()
        for level in ("repo", "local"):
            _merge(theirs, ours.load_one(level))
        _merge(theirs, {"cache": {"dir": str(cache_folder(root)), "type": _LINKS}})
        # What DVC knows of the clone's files goes with the clone.
        _merge(theirs, {"core": {"site_cache_dir": str(folder / ".dvc" / "tmp" / "site")}})


def _link_weights(ours: Path, theirs: Path) -> None:
    """Have the clone read downloaded weights from the checkout, and download others into it."""
    ours.mkdir(parents=True, exist_ok=True)
    theirs.parent.mkdir(exist_ok=True)
    if not theirs.is_symlink():
        theirs.symlink_to(ours)


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value
