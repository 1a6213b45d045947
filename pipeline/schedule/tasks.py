"""The scheduler's tasks: `python -m pipeline.schedule.tasks prepare | stage NAME | commit | sources`.

By default all tasks share the workspace that they start in. Settings, from the environment:

RATEWRIGHT_REPOSITORY: URL of a git repository. Workers then share only that, a DVC remote and an MLflow server,
    and every task works in a clone of its own.
RATEWRIGHT_BRANCH: the branch that runs start from and move; by default the one that is checked out.
RATEWRIGHT_GIT_REMOTE: the remote that a shared workspace pushes to; by default none.
RATEWRIGHT_DVC_REMOTE: the DVC remote of clones, such as s3://bucket/dvc; by default that of .dvc/config.
RATEWRIGHT_SCRATCH: the folder of the clones; by default ~/.cache/ratewright, which only its user may enter.
RATEWRIGHT_LOG: the level of messages, see pipeline/terminal.py.

The DAG sets for each task: RATEWRIGHT_RUN_ID, RATEWRIGHT_REQUEST and RATEWRIGHT_PLAN_FILE (the file that the plan is
written to) for prepare, RATEWRIGHT_PLAN (what that file held) for stage and commit. Exit code 99 means that there was
nothing to do.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.errors import RatewrightError
from components.training.interrupt import die_with_parent
from pipeline.config import params
from pipeline.config.datasets import changed_revisions
from pipeline.schedule import run_commits
from pipeline.schedule.git import RUNS, Repository
from pipeline.schedule.plan import Plan, Request, run_name
from pipeline.schedule.source_changes import source_change
from pipeline.schedule.stage_nodes import COMMITTED, dag_id, load
from pipeline.terminal import guarded

NOTHING_TO_DO = 99

FORGOTTEN_S = 15 * 24 * 3600
"""Age of a clone's last attempt at which the clone is removed. No task may run for longer than 14 days."""

logger = logging.getLogger(__name__)


def main() -> None:
    """Run one task."""
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
    """Fix the commit that the run uses, and write the run's plan to RATEWRIGHT_PLAN_FILE."""
    run_id, request = _required("RATEWRIGHT_RUN_ID"), Request.parse(os.environ.get("RATEWRIGHT_REQUEST", "{}"))
    profile = request.profile or COMMITTED
    plan_file = Path(_required("RATEWRIGHT_PLAN_FILE")).absolute()
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        repository = Repository(Path.cwd())
        run_commits.refuse_edits(repository)
        plan = run_commits.prepare(repository, _workspace_branch(repository), repository.head(), run_id, request)
        _refuse_stages_without_task(repository.root, plan, profile)
    else:
        with _clone(address, run_name(run_id), "prepare") as repository:
            branch, tip = _check_out_branch(repository)
            plan = run_commits.prepare(repository, branch, tip, run_id, request)
            _refuse_stages_without_task(repository.root, plan, profile)
            repository.git("push", "--quiet", "origin", f"{plan.ref}:{plan.ref}")
    logger.info(f"prepare: run {plan.run} uses commit {plan.commit[:12]}, {len(plan.stages)} stages")
    plan_file.write_text(plan.model_dump_json())


def stage(name: str) -> None:
    """Run one stage instance of the plan, if DVC finds that something changed."""
    plan = Plan.parse(_required("RATEWRIGHT_PLAN"))
    if name not in plan.stages:
        logger.info(f"{name} is not part of this run")
        raise SystemExit(NOTHING_TO_DO)
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        _refuse_params_of_another_run(Repository(Path.cwd()), plan)
        os.execvp("dvc", ["dvc", "--wait-for-lock", "repro", "--single-item", name])
    with _clone(address, plan.run, name.replace("@", "-"), plan.commit):
        # Outputs of unchanged stages are pulled too: DVC takes an incomplete folder for a changed one.
        _dvc("pull", "--allow-missing", *_inputs(name, plan))
        _dvc("repro", "--pull", "--allow-missing", name)
        _dvc("push", "--run-cache")


def commit() -> None:
    """Commit, tag and push the run's result."""
    plan = Plan.parse(_required("RATEWRIGHT_PLAN"))
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        repository = Repository(Path.cwd())
        if repository.commit_of(plan.tag) is None:  # a retry may find the branch's params.yaml again
            _refuse_params_of_another_run(repository, plan)
        run_commits.finish(repository, plan, os.environ.get("RATEWRIGHT_GIT_REMOTE"))
        return
    with _clone(address, plan.run, "commit", plan.commit) as repository:
        _dvc("pull", "--allow-missing")
        _dvc("repro", "--pull", "--allow-missing")
        _dvc("push", "--run-cache")
        run_commits.finish(repository, plan, "origin")


def sources() -> None:
    """Ask every source whether it changed since the last run; exit with 99 if none did."""
    address = os.environ.get("RATEWRIGHT_REPOSITORY")
    if address is None:
        # An unfinished run may have written its own params.yaml into the workspace.
        repository = Repository(Path.cwd())
        changed = _say_what_changed(repository.root, params.loads(repository.text("HEAD", params.FILE)))
    else:
        with _clone(address, "refresh", "sources") as repository:
            _check_out_branch(repository)
            changed = _say_what_changed(repository.root, params.load(repository.root))
    if not changed:
        logger.info("sources: nothing changed")
        raise SystemExit(NOTHING_TO_DO)


def _say_what_changed(root: Path, settings: params.Params) -> bool:
    """Log every source that changed, and how. Returns whether any did."""
    changed = changed_revisions(root, settings)
    for name, revision in changed.items():
        how = source_change(root, settings, name)
        logger.info(f"sources: {name} has the new revision {revision}, which no run has used yet{how and f': {how}'}")
    return bool(changed)


def _workspace_branch(repository: Repository) -> str:
    """The branch that is checked out. Raises RatewrightError if RATEWRIGHT_BRANCH names another."""
    branch = repository.branch()
    if branch != (wanted := os.environ.get("RATEWRIGHT_BRANCH") or branch):
        raise RatewrightError(f"{repository.root} is on {branch}, not on {wanted}")
    return branch


def _check_out_branch(repository: Repository) -> tuple[str, str]:
    """Check out the tip of the branch that runs start from. Returns the branch and its tip."""
    branch = os.environ.get("RATEWRIGHT_BRANCH") or repository.default_branch()
    tip = repository.git("rev-parse", f"refs/remotes/origin/{branch}")
    repository.git("checkout", "--quiet", "--force", "--detach", tip)
    return branch, tip


def _refuse_stages_without_task(root: Path, plan: Plan, profile: str) -> None:
    """Raise RatewrightError if the DAG of the profile has no task for a stage of the plan."""
    drawn = {node.name for node in load(root / "dags" / "stages.json").get(profile, [])}
    if missing := sorted(plan.stages.keys() - drawn):
        advice = "run `make graph` and commit dags/stages.json"
        raise RatewrightError(f"the DAG {dag_id(profile)} has no task for {', '.join(missing)}: {advice}")


def _refuse_params_of_another_run(repository: Repository, plan: Plan) -> None:
    """Raise RatewrightError if the workspace no longer holds the params of the plan."""
    if (repository.root / params.FILE).read_text() != repository.text(plan.commit, params.FILE):
        raise RatewrightError(
            f"{repository.root} has the params of another run now: clear this run from its first task on"
        )


def _inputs(name: str, plan: Plan) -> list[str]:
    """Stages of the plan whose outputs the stage `name` needs.

    A stage with one instance, such as choose, gathers the outputs of others, and a stage after it reads those too.
    """
    found: dict[str, None] = {}
    readers = [name]
    for reader in readers:
        for upstream in plan.stages[reader]:
            if upstream not in found:
                found[upstream] = None
                if "@" not in upstream:
                    readers.append(upstream)
    return list(found)


@contextmanager
def _clone(address: str, run: str, task: str, commit: str | None = None) -> Iterator[Repository]:
    """A clone for one task, which is the current folder meanwhile and removed afterwards.

    The clone of a stage or of `commit` that failed stays: the next attempt goes on in it, a training from its saved
    state. Old ones of other runs are removed.

    Args:
        address: URL or folder of the repository.
        run: The run's name.
        task: The task's name, a folder of its own in the run's.
        commit: The commit to check out; None checks out nothing.
    """
    scratch = scratch_folder()
    for forgotten in forgotten_clones(scratch):
        logger.info(f"removing the clone {forgotten}, which a failed run left")
        shutil.rmtree(forgotten, ignore_errors=True)
    folder = scratch / run / task
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    done = False
    try:
        yield _checked_out(Repository.clone(address, folder), commit)
        done = True
    finally:
        os.chdir(scratch)
        if done or commit is None:
            shutil.rmtree(folder)


def _checked_out(repository: Repository, commit: str | None) -> Repository:
    """Make a clone the current folder, with `commit` checked out and DVC's remote configured if there is a commit."""
    os.chdir(repository.root)
    os.environ["PYTHONPATH"] = str(repository.root)  # stages run the code of the commit, not of the worker's image
    if commit is not None:
        if "MLFLOW_TRACKING_URI" not in os.environ:
            raise RatewrightError("MLFLOW_TRACKING_URI is not set: a clone's own database would be lost with it")
        if repository.head() != commit:  # git moves HEAD when all files are written
            repository.git("checkout", "--quiet", "--force", "--detach", commit)
        _configure_dvc_remote()
    return repository


def scratch_folder() -> Path:
    """The folder of the clones. Raises RatewrightError if the default one would belong to another user."""
    if chosen := os.environ.get("RATEWRIGHT_SCRATCH"):
        return Path(chosen).absolute()
    scratch = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "ratewright"
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    if scratch.stat().st_uid != os.getuid():
        raise RatewrightError(f"{scratch} belongs to another user; set RATEWRIGHT_SCRATCH to a folder of your own")
    scratch.chmod(0o700)
    return scratch


def forgotten_clones(scratch: Path) -> Iterator[Path]:
    """The clones that no attempt has begun in for `FORGOTTEN_S`: their runs failed, or went on elsewhere.

    Only clones of runs have the refs of runs in their configuration: other folders in `scratch` stay.
    """
    for configuration in scratch.glob("*/*/.git/config"):
        folder = configuration.parents[1]
        # Another task may be removing the same clone, and other folders may belong to other users.
        with suppress(FileNotFoundError, PermissionError):
            if time.time() - folder.stat().st_mtime > FORGOTTEN_S and RUNS in configuration.read_text():
                yield folder


def _configure_dvc_remote() -> None:
    """Make RATEWRIGHT_DVC_REMOTE, if set, the default remote of the clone in the current folder."""
    if url := os.environ.get("RATEWRIGHT_DVC_REMOTE"):
        _dvc("remote", "add", "--quiet", "--force", "--local", "--default", "shared", url)
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            _dvc("remote", "modify", "--quiet", "--local", "shared", "endpointurl", endpoint)


def _dvc(*arguments: str) -> None:
    done = subprocess.run(["dvc", *arguments], check=False)
    if done.returncode != 0:
        raise RatewrightError(f"dvc {' '.join(arguments)} exited with {done.returncode}")


def _required(name: str) -> str:
    """An environment variable that the DAG sets for its tasks."""
    if not (value := os.environ.get(name)):
        raise RatewrightError(f"{name} is not set; the DAG sets it for its tasks")
    return value


if __name__ == "__main__":
    guarded(main)
