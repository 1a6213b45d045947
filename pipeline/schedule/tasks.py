"""What the scheduler's tasks run: `python -m pipeline.schedule.tasks prepare | stage NAME | commit | sources`.

Where nothing is set, all tasks share the workspace that they are started in. Settings, from the environment:

RATEWRIGHT_REPOSITORY: address of a git repository: workers share nothing but it, a DVC remote and an MLflow server,
    and every task works in a clone of its own.
RATEWRIGHT_BRANCH: the branch that runs start from and move; the one that is checked out, if not set.
RATEWRIGHT_GIT_REMOTE: the remote that a shared workspace pushes to; none, if not set.
RATEWRIGHT_DVC_REMOTE: the DVC remote of clones, such as s3://bucket/dvc; that of .dvc/config, if not set.
RATEWRIGHT_SCRATCH: where clones lie; the system's folder for temporary files, if not set.

The task's own facts: RATEWRIGHT_RUN_ID and RATEWRIGHT_REQUEST for prepare, RATEWRIGHT_PLAN (what prepare printed
last) for stage and commit. Exit 99 says that there was nothing to do.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import RatewrightError
from components.training.interrupt import die_with_parent
from pipeline.config import params
from pipeline.config.datasets import changed_revisions
from pipeline.entry import console, guarded
from pipeline.schedule import run_commits as retrain
from pipeline.schedule.git import Repository
from pipeline.schedule.stage_nodes import load, union

NOTHING_TO_DO = 99


def main() -> None:
    """Carry out one task."""
    die_with_parent()
    # bash takes a task's socket for a remote login and reads ~/.bashrc, which may put another Python in front.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    match sys.argv[1:]:
        case ["prepare"]:
            prepare()
        case ["stage", name]:
            stage(name)
        case ["commit"]:
            commit()
        case ["sources"]:
            sources()
        case _:
            raise RatewrightError("usage: python -m pipeline.schedule.tasks prepare | stage NAME | commit | sources")


def prepare() -> None:
    """Pin the run to a commit and print its plan."""
    run_id, request = _given("RATEWRIGHT_RUN_ID"), retrain.Request.parse(os.environ.get("RATEWRIGHT_REQUEST", "{}"))
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        repository = Repository(Path.cwd())
        retrain.refuse_edits(repository)
        branch = repository.branch()
        if branch != (wanted := os.environ.get("RATEWRIGHT_BRANCH") or branch):
            raise RatewrightError(f"{repository.root} is on {branch}, not on {wanted}")
        plan = retrain.prepare(repository, branch, repository.head(), run_id, request)
        _refuse_undrawn(repository.root, plan)
    else:
        with _clone(address, retrain.word(run_id), "prepare") as repository:
            branch, tip = _at_tip(repository)
            plan = retrain.prepare(repository, branch, tip, run_id, request)
            _refuse_undrawn(repository.root, plan)
            repository.git("push", "--quiet", "origin", f"{plan.ref}:{plan.ref}")
    console.print(f"prepare: {plan.run} is of {plan.commit[:12]}, {len(plan.stages)} stages")
    console.print(plan.dump())


def stage(name: str) -> None:
    """Run one stage instance of the plan, as far as DVC finds that it changed."""
    plan = retrain.Plan.parse(_given("RATEWRIGHT_PLAN"))
    if name not in plan.stages:
        console.print(f"{name} is not part of this run")
        raise SystemExit(NOTHING_TO_DO)
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        os.execvp("dvc", ["dvc", "--wait-for-lock", "repro", "--single-item", name])
    with _clone(address, plan.run, name.replace("@", "-"), plan.commit) as repository:
        # What unchanged stages made has to be here too: DVC takes a folder of which a part is missing as it is.
        _dvc("pull", "--allow-missing", *_upstream(repository.root, name, plan))
        _dvc("repro", "--pull", "--allow-missing", name)
        _dvc("push", "--run-cache")


def commit() -> None:
    """Commit, tag and push what the run made."""
    plan = retrain.Plan.parse(_given("RATEWRIGHT_PLAN"))
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        retrain.finish(Repository(Path.cwd()), plan, os.environ.get("RATEWRIGHT_GIT_REMOTE"))
        return
    with _clone(address, plan.run, "commit", plan.commit) as repository:
        _dvc("pull", "--allow-missing")
        _dvc("repro", "--pull", "--allow-missing")
        _dvc("push", "--run-cache")
        retrain.finish(repository, plan, "origin")


def sources() -> None:
    """Ask every source whether it changed since the last run; exit 99 if none did."""
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        changed = changed_revisions(Path.cwd(), params.load(Path.cwd()))
    else:
        with _clone(address, "refresh", "sources") as repository:
            _at_tip(repository)
            changed = changed_revisions(repository.root, params.load(repository.root))
    for name, revision in changed.items():
        console.print(f"sources: {name} is at {revision}, which no run has used yet")
    if not changed:
        console.print("sources: nothing changed")
        raise SystemExit(NOTHING_TO_DO)


def _refuse_undrawn(root: Path, plan: retrain.Plan) -> None:
    """Raise RatewrightError where the DAG has no task for a stage of the plan."""
    drawn = {node.name for node in union(load(root / "dags" / "stages.json"))}
    if unknown := sorted(set(plan.stages) - drawn):
        raise RatewrightError(f"dags/stages.json lacks {', '.join(unknown)}: run `make graph` and commit it")


def _upstream(root: Path, name: str, plan: retrain.Plan) -> list[str]:
    """The stages of the plan whose outputs `name` reads, and those that the gathering stages before it read."""
    nodes = {node.name: node for node in union(load(root / "dags" / "stages.json"))}
    found: dict[str, None] = {}
    readers = [name]
    for reader in readers:
        for upstream in nodes[reader].upstream:
            if upstream in plan.stages and upstream not in found:
                found[upstream] = None
                if nodes[upstream].instance is None:
                    readers.append(upstream)
    return list(found)


def _at_tip(repository: Repository) -> tuple[str, str]:
    """Check out the tip of the branch that runs start from; the branch and its tip."""
    branch = os.environ.get("RATEWRIGHT_BRANCH") or repository.default_branch()
    tip = repository.git("rev-parse", f"refs/remotes/origin/{branch}")
    repository.git("checkout", "--quiet", "--force", "--detach", tip)
    return branch, tip


@contextmanager
def _clone(address: str, run: str, task: str, commit: str | None = None) -> Iterator[Repository]:
    """A clone for one task, the current folder while it lasts; one that a failed attempt left is gone on with."""
    scratch = Path(os.environ.get("RATEWRIGHT_SCRATCH") or Path(tempfile.gettempdir()) / "ratewright")
    repository = Repository.clone(address, scratch / run / task)
    os.chdir(repository.root)
    os.environ["PYTHONPATH"] = str(repository.root)  # stages run the code of the commit, not of the worker's image
    if commit is not None:
        if "MLFLOW_TRACKING_URI" not in os.environ:
            raise RatewrightError("MLFLOW_TRACKING_URI is not set: a clone's own database would be lost with it")
        if not (repository.root / params.FILE).exists() or repository.head() != commit:
            repository.git("checkout", "--quiet", "--force", "--detach", commit)
        if url := os.environ.get("RATEWRIGHT_DVC_REMOTE"):
            _dvc("remote", "add", "--quiet", "--force", "--local", "--default", "shared", url)
            if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
                _dvc("remote", "modify", "--quiet", "--local", "shared", "endpointurl", endpoint)
    yield repository
    os.chdir(scratch)
    shutil.rmtree(repository.root)


def _dvc(*arguments: str) -> None:
    done = subprocess.run(["dvc", *arguments], check=False)
    if done.returncode != 0:
        raise RatewrightError(f"dvc {' '.join(arguments)} exited with {done.returncode}")


def _given(name: str) -> str:
    if not (value := os.environ.get(name)):
        raise RatewrightError(f"{name} is not set; the DAG sets it for its tasks")
    return value


if __name__ == "__main__":
    guarded(main)
