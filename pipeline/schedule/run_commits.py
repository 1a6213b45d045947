"""A retraining's commits: the one that it uses, and the one with its result.

A run starts from the tip of a branch. Changed params (those of a request, revisions of data that changed) make a
commit that only the ref refs/ratewright/<run> holds. At the end of the run dvc.lock is committed and tagged
retrain/<run>. The branch follows if the run used the default params, and stays if somebody asked for others.
"""

import logging
from pathlib import Path

from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.config import params
from pipeline.documents import RegistryRecord, read
from pipeline.paths import Layout
from pipeline.schedule.dvc_graph import stage_nodes
from pipeline.schedule.git import RUNS, Repository
from pipeline.schedule.plan import Plan, Request, run_name
from pipeline.schedule.requested_params import requested_params

LOCK = "dvc.lock"
PIPELINE = (params.FILE, "dvc.yaml", LOCK)
"""Files that a run's dvc.lock belongs to: if the branch changed one of them, the lock does not fit the branch."""
_PUSHES = 5

logger = logging.getLogger(__name__)


def prepare(repository: Repository, branch: str, tip: str, run_id: str, request: Request) -> Plan:
    """Fix the commit that a run uses, and write its params.yaml. A retry finds the same commit.

    Args:
        repository: A checkout; only its params.yaml changes.
        branch: The branch that the run starts from.
        tip: The tip of that branch.
        run_id: The scheduler's name of the run.
        request: The parameters that the run was asked for.

    Raises:
        RatewrightError: The request cannot be met; nothing was written.
    """
    run, root = run_name(run_id), repository.root
    commit = repository.commit_of(f"{RUNS}{run}")
    if commit is None:
        commit, committed = tip, repository.text(tip, params.FILE)
        text = requested_params(root, committed, request)
        if text != committed:
            message = f"Params of {run_id}\n\n{request.model_dump_json(exclude_none=True)}"
            commit = repository.commit([tip], {params.FILE: text.encode()}, message)
        repository.move({f"{RUNS}{run}": (None, commit)})
    base = repository.git("merge-base", commit, tip)
    write_bytes(root / params.FILE, repository.text(commit, params.FILE).encode())
    return Plan(
        run=run,
        branch=branch,
        base=base,
        commit=commit,
        default_params=request.default_params,
        stages={node.name: [*node.upstream] for node in stage_nodes(root)},
    )


def refuse_edits(repository: Repository) -> None:
    """Raise RatewrightError if tracked files were edited: a run uses a commit.

    dvc.lock may differ, since runs write it. params.yaml may be that of an unfinished run.
    """
    edited = set(repository.changed_files()) - {LOCK}
    if params.FILE in edited:
        now = repository.git("hash-object", params.FILE)
        refs = repository.git("for-each-ref", "--format=%(objectname)", RUNS).split()
        if now in {repository.blob(commit, params.FILE) for commit in refs}:
            edited.remove(params.FILE)
    if edited:
        raise RatewrightError(f"{repository.root}: commit or undo the edits of {', '.join(sorted(edited))} first")


def finish(repository: Repository, plan: Plan, remote: str | None) -> None:
    """Commit and tag a run's dvc.lock, and move the branch if it follows the run. A retry repeats no step.

    Args:
        repository: The checkout that the run's stages wrote dvc.lock in.
        plan: The run.
        remote: The git remote to push to; None for none.

    Raises:
        RatewrightError: No stage has finished, or the remote refuses the push.
    """
    if not (repository.root / LOCK).exists():
        raise RatewrightError(f"{repository.root / LOCK} is missing: no stage of this run has finished")
    files = {LOCK: (repository.root / LOCK).read_bytes()}
    if plan.commit != plan.base:
        files[params.FILE] = repository.text(plan.commit, params.FILE).encode()
    for _ in range(_PUSHES):
        if remote is not None:
            repository.git("fetch", "--quiet", "--tags", remote)
        if (done := repository.commit_of(plan.tag)) is not None:
            logger.info(f"commit: {plan.tag.removeprefix('refs/tags/')} exists already, {done[:12]}")
            break
        if _publish(repository, plan, files, remote):
            break
    else:
        raise RatewrightError(f"{remote} refused {_PUSHES} pushes, the branch {plan.branch} moved each time")
    _clean_up(repository, plan, remote)


def _publish(repository: Repository, plan: Plan, files: dict[str, bytes], remote: str | None) -> bool:
    """Commit on the branch's present tip and publish the commit; False if the tip moved meanwhile."""
    local = f"refs/heads/{plan.branch}"
    tip = repository.commit_of(local if remote is None else f"refs/remotes/{remote}/{plan.branch}")
    reason = _reason_to_stay(repository, plan, tip)
    parents = [tip] if reason is None and tip is not None and tip != plan.base else [plan.commit]
    if plan.commit not in (*parents, plan.base):
        parents.append(plan.commit)  # checkpoints name the commit that the run used: it stays in the history
    result = repository.commit(parents, files, _message(repository.root, plan))
    refs = [plan.tag] if reason else [plan.tag, local]
    if remote is not None and not _push(repository, plan, remote, tip, dict.fromkeys(refs, result)):
        return False
    moves: dict[str, tuple[str | None, str]] = {}
    if repository.commit_of(plan.tag) is None:
        moves[plan.tag] = (None, result)
    if reason is None and tip is not None and repository.commit_of(local) == tip:
        moves[local] = (tip, result)
    repository.move(moves)
    logger.info(f"commit: {result[:12]} is tag {plan.tag.removeprefix('refs/tags/')}")
    logger.info(f"commit: {plan.branch} {f'stays where it is: {reason}' if reason else 'follows'}")
    return True


def _push(repository: Repository, plan: Plan, remote: str, tip: str | None, refs: dict[str, str]) -> bool:
    """Push all of `refs` or none; False if the push failed because the branch moved from `tip` or the tag exists."""
    try:
        repository.git("push", "--quiet", "--atomic", remote, *(f"{commit}:{ref}" for ref, commit in refs.items()))
    except RatewrightError:
        repository.git("fetch", "--quiet", "--tags", remote)
        if repository.commit_of(f"refs/remotes/{remote}/{plan.branch}") != tip or repository.commit_of(plan.tag):
            return False
        raise
    return True


def _reason_to_stay(repository: Repository, plan: Plan, tip: str | None) -> str | None:
    """Why the branch, now at `tip`, does not follow the run; None if it does."""
    if not plan.default_params:
        return "the run used non-default parameters"
    if tip is None or repository.git("merge-base", plan.base, tip) != plan.base:
        return f"it does not contain {plan.base[:12]}, from which the run started"
    changed = [path for path in PIPELINE if repository.blob(plan.base, path) != repository.blob(tip, path)]
    return f"{', '.join(changed)} changed meanwhile" if changed else None


def _clean_up(repository: Repository, plan: Plan, remote: str | None) -> None:
    """Delete the run's own ref; restore the work tree's params.yaml and dvc.lock from the branch."""
    if repository.commit_of(plan.ref) is not None:
        repository.git("update-ref", "-d", plan.ref)
    if remote is not None and repository.git("ls-remote", remote, plan.ref):
        repository.git("push", "--quiet", remote, f":{plan.ref}")
    if (repository.root / params.FILE).exists():
        tracked = [path for path in (params.FILE, LOCK) if repository.blob("HEAD", path) is not None]
        repository.git("checkout", "--quiet", "HEAD", "--", *tracked)


def _message(root: Path, plan: Plan) -> str:
    outcome, path = "no decision", Layout(root).registry
    if path.exists():
        record = read(RegistryRecord, path)
        outcome = f"{record.model}: {record.decision}\n\n{record.why}"
    return f"Retrained, {outcome}\n\nRun {plan.run} of {plan.commit}"
