"""DVC's experiments as git commits: params.yaml and dvc.lock on top of a commit, which nothing but a ref holds.

`dvc exp show`, `dvc exp apply` and `dvc exp diff` read such commits. Written so, they change no file of the workspace,
and each is there whole or not at all.
"""

import io
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from ruamel.yaml import YAML

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.documents import Evaluation, read
from pipeline.schedule.git import Repository
from pipeline.schedule.run_commits import LOCK


def check_name(name: str) -> None:
    """Raise RatewrightError if git or DVC refuses the name of an experiment."""
    from dvc.repo.experiments.refs import EXPS_NAMESPACE

    try:
        if "/" in name:
            raise RatewrightError("DVC allows no /")
        Repository(Path.cwd()).git("check-ref-format", f"{EXPS_NAMESPACE}/{name}")
    except RatewrightError as error:
        forbidden = "spaces, / and ~^:?*[\\"
        raise RatewrightError(f"{name!r}: names of experiments are git refs, which have no {forbidden}") from error


def experiment_ref(base: str, name: str) -> str:
    """The ref of the experiment `name` on top of the commit `base`."""
    from dvc.repo.experiments.refs import ExpRefInfo

    return str(ExpRefInfo(base, name))


def recorded(repository: Repository, base: str, name: str) -> tuple[str, str] | None:
    """The texts of params.yaml and dvc.lock of an experiment; None if there is none of the name."""
    commit = repository.commit_of(experiment_ref(base, name))
    if commit is None or repository.blob(commit, LOCK) is None:
        return None
    return repository.text(commit, params.FILE), repository.text(commit, LOCK)


def record(repository: Repository, base: str, name: str, settings: str, lock: str) -> str:
    """Make an experiment, or replace the one of that name.

    Args:
        repository: The checkout; its workspace stays as it is.
        base: The commit that the experiment started from.
        name: Its name.
        settings: The text of its params.yaml.
        lock: The text of its dvc.lock.

    Returns:
        The experiment's commit.
    """
    ref = experiment_ref(base, name)
    files = {params.FILE: settings.encode(), LOCK: lock.encode()}
    commit = repository.commit([base], files, f"Experiment {name}")
    repository.move({ref: (repository.commit_of(ref), commit)})
    return commit


def locked_stages(text: str) -> dict[str, Any]:
    """The entries of a dvc.lock, by stage."""
    document = YAML(typ="safe").load(text) or {}
    return dict(document.get("stages") or {})


def lock_of(text: str, stages: Iterable[str]) -> str:
    """The text of a dvc.lock without other stages than these; an empty text if it has none of them."""
    kept = set(stages)
    entries = {name: entry for name, entry in locked_stages(text).items() if name in kept}
    written = io.StringIO()
    if entries:
        YAML().dump({"schema": "2.0", "stages": entries}, written)
    return written.getvalue()


def evaluations(lock: str, stages: Iterable[str], cache: Path) -> list[Evaluation]:
    """What the stages measured, from the metrics.json that dvc.lock names.

    Args:
        lock: The text of a dvc.lock.
        stages: Stages, of which those that measure a codec count.
        cache: DVC's cache. What it lacks is left out.
    """
    found, entries = [], locked_stages(lock)
    for stage in stages:
        for out in entries.get(stage, {}).get("outs", []):
            path = cache / "files" / "md5" / out["md5"][:2] / out["md5"][2:]
            if PurePath(out["path"]).match("evaluation/*/metrics.json") and path.is_file():
                found.append(read(Evaluation, path))
    return found
