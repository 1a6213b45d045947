"""What may be deleted of a checkout, and why: nothing that a commit, a kept or running run, or a version needs.

Every registered version stays, whatever its aliases: somebody may hold streams that it wrote.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.errors import RatewrightError
from pipeline.documents import Calibration, read
from pipeline.paths import Layout
from pipeline.registry.failed_runs import delete, failed_runs, registered_identities
from pipeline.schedule import dvc_cache
from pipeline.schedule.git import RUNS, Repository
from pipeline.schedule.tasks import FORGOTTEN_S, forgotten_clones, scratch_folder

WRITTEN_S = 24 * 3600
"""Age at which a temporary file belongs to no write that goes on."""

_OUTPUTS = ("models", "evaluation", "work/train", "work/calibrate")
"""Folders with a folder for each codec. Data sets stay: fetching them takes hours."""
_WRITTEN = ("data", "models", "evaluation", "report", "work")
"""Folders that only stages write to."""
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as tempfile names it for components/storage/atomic.py


@dataclass(frozen=True)
class Garbage:
    """Something that may be deleted.

    Attributes:
        what: Its name.
        why: Why nothing needs it.
        bytes: Its size.
        remove: Deletes it; a repeated call does nothing.
    """

    what: str
    why: str
    bytes: int
    remove: Callable[[], None]


def garbage(root: Path) -> list[Garbage]:
    """Everything that may be deleted, in the order in which it must be.

    Raises:
        RatewrightError: A stage is running, or git, DVC or MLflow fails; one line.
    """
    dvc_cache.refuse_running_stages(root)
    now, repository = time.time(), Repository(root)
    refs = dict(_refs(repository, now))
    found = [Garbage(ref, why, 0, partial(_delete_ref, repository, ref)) for ref, why in refs.items()]
    for folder in forgotten_clones(scratch_folder()):
        found.append(_folder(folder, "clone of a run that failed, no attempt for 15 days"))
    for folder in Layout(root).experiment_clones:
        if now - folder.stat().st_mtime > FORGOTTEN_S:
            found.append(_folder(folder, "clone of an experiment that is not finished, no attempt for 15 days"))
    for run in failed_runs(root, now - FORGOTTEN_S):
        what = f"MLflow run {run.name} {run.id}"
        why = "failed, not resumed for 15 days, of no registered version"
        found.append(Garbage(what, why, run.bytes, partial(delete, root, run.id)))
    found += _orphans(root)
    found += [_file(path) for path in _temporary(root, now - WRITTEN_S)]
    kept = [ref for ref in repository.git("for-each-ref", "--format=%(refname)", RUNS).splitlines() if ref not in refs]
    if not dvc_cache.is_shared(root) and (objects := dvc_cache.unneeded_objects(root, kept)):
        size = sum(path.stat().st_size for path in objects if path.is_file())
        remove = partial(dvc_cache.remove_unneeded, root, kept)
        found.append(
            Garbage(f"{len(objects)} objects of DVC's cache", "no commit, run or file needs them", size, remove)
        )
    return found


def _refs(repository: Repository, now: float) -> Iterator[tuple[str, str]]:
    """The refs of runs that have a result, or were left without one, each with the reason."""
    folder = repository.root / repository.git("rev-parse", "--git-common-dir")
    for ref in repository.git("for-each-ref", "--format=%(refname)", RUNS).splitlines():
        loose = folder / ref
        written = (loose if loose.exists() else folder / "packed-refs").stat().st_mtime
        if repository.commit_of(f"refs/tags/retrain/{ref.removeprefix(RUNS)}") is not None:
            yield ref, "the run has its result"
        elif now - written > FORGOTTEN_S:
            yield ref, "the run has no result after 15 days"


def _delete_ref(repository: Repository, ref: str) -> None:
    repository.git("update-ref", "-d", ref)


def _orphans(root: Path) -> Iterator[Garbage]:
    """Outputs of stages that dvc.yaml and params.yaml no longer have, other than those of registered versions."""
    wanted, registered = _outputs(root), registered_identities(root)
    for parent in _OUTPUTS:
        for folder in sorted((root / parent).glob("[!.]*")):
            name = folder.name
            stays = any(path.is_relative_to(folder) or path.parent.name == name for path in wanted)
            if folder.is_dir() and not folder.is_symlink() and not stays and not _registered(root, name, registered):
                yield _folder(folder, "no stage of dvc.yaml and params.yaml writes it")


def _outputs(root: Path) -> list[Path]:
    """The paths that the stages write."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return [Path(out.fs_path) for out in repo.index.outs]
    except DvcException as error:
        raise RatewrightError(f"{root / 'dvc.yaml'}: {error}") from error


def _registered(root: Path, variant: str, registered: set[str]) -> bool:
    """Whether the checkpoint of a variant is that of a registered version."""
    path = Layout(root).calibration(variant)
    if not path.exists():
        return False
    calibration = read(Calibration, path)
    return f"{calibration.model_hash}:{calibration.gain}" in registered


def _temporary(root: Path, before: float) -> Iterator[Path]:
    """Temporary files and folders that a killed write left."""
    for place in _WRITTEN:
        for path in sorted((root / place).rglob("*")):
            if _TEMPORARY.fullmatch(path.name) and path.exists() and path.stat().st_mtime < before:
                yield path


def _file(path: Path) -> Garbage:
    why = "temporary file of a write that broke off"
    return _folder(path, why) if path.is_dir() else Garbage(str(path), why, path.stat().st_size, partial(_unlink, path))


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _folder(path: Path, why: str) -> Garbage:
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink())
    return Garbage(str(path), why, size, partial(shutil.rmtree, path, ignore_errors=True))
