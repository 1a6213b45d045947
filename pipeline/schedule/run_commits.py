"""One retraining as commits: what it runs on, and what it leaves behind.

A run starts from the tip of a branch. What it changes in params.yaml (parameters of its own, revisions of data that
changed) makes a commit that only the ref refs/ratewright/<run> holds. At its end dvc.lock is committed and tagged
retrain/<run>; the branch follows where the run was of the standing params, and not where somebody asked for others.
"""

import io
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from components.errors import RatewrightError
from components.storage.atomic import read_json, write_bytes
from pipeline.config import params
from pipeline.config.datasets import changed_revisions
from pipeline.config.profiles import profile_text
from pipeline.entry import console
from pipeline.paths import Layout
from pipeline.schedule.dvc_graph import stage_nodes
from pipeline.schedule.git import RUNS, Repository

LOCK = "dvc.lock"
PIPELINE = (params.FILE, "dvc.yaml", LOCK)
"""Files that a run's dvc.lock belongs to: where the branch changed one, the lock is not the branch's any more."""
_PUSHES = 5


class Request(BaseModel):
    """What somebody asked a run for; null leaves it as params.yaml has it.

    What fine-tuned variants start from is part of a run of these.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    profile: str | None = None
    mirror: str | None = None
    variants: Annotated[list[str], Field(min_length=1)] | None = None
    target_bpp: Annotated[float, Field(gt=0)] | None = None
    training_steps: Annotated[int, Field(gt=0)] | None = None

    @classmethod
    def parse(cls, text: str) -> "Request":
        """A request from JSON. Raises RatewrightError: one line with every wrong key and why."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise RatewrightError(f"the run's parameters: {'; '.join(faults)}") from error

    @property
    def standing(self) -> bool:
        """Whether the run is of the params as they are committed."""
        return not self.model_dump(exclude_none=True)


@dataclass(frozen=True)
class Plan:
    """A run that was prepared; every task of it gets this."""

    run: str
    """A word that names the run in refs and folders."""
    branch: str
    """Where it started from and, if standing, what follows it."""
    base: str
    """The tip of the branch then."""
    commit: str
    """What it runs on: `base`, or a commit on top of it with other params."""
    standing: bool
    """Whether nobody asked for other params."""
    stages: list[str]
    """The stage instances of this run."""

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """A plan from JSON."""
        return cls(**json.loads(text))

    def dump(self) -> str:
        """The plan as JSON in one line."""
        return json.dumps(asdict(self))

    @property
    def ref(self) -> str:
        """The ref that keeps `commit`."""
        return f"{RUNS}{self.run}"

    @property
    def tag(self) -> str:
        """The tag of what the run leaves."""
        return f"refs/tags/retrain/{self.run}"


def word(run_id: str) -> str:
    """A run's id as a word that may stand in a ref and in a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", run_id).strip("-")


def params_text(root: Path, text: str, request: Request) -> str:
    """params.yaml as `request` wants it, made from `text`; comments are kept. Raises RatewrightError."""
    standing = params.parse(YAML(typ="safe").load(text), params.FILE)
    if request.profile is not None:
        text = profile_text(root, request.profile, request.mirror or standing.mirror)
    yaml = YAML()
    yaml.width = 120
    document = yaml.load(text)
    if request.mirror is not None:
        document["mirror"] = request.mirror
    if request.target_bpp is not None:
        document["target_bpp"] = request.target_bpp
    if request.variants is not None:
        known = [*document["variants"], *document["fine_tuned"]]
        if unknown := [name for name in request.variants if name not in known]:
            raise RatewrightError(f"no variant {', '.join(unknown)}; there are {', '.join(known)}")
        asked = set(request.variants)
        starts = {variant["start"] for name, variant in document["fine_tuned"].items() if name in asked}
        for section in ("variants", "fine_tuned"):
            for name in set(document[section]) - asked - starts:
                del document[section][name]
    if request.training_steps is not None:
        for variant in (*document["variants"].values(), *document["fine_tuned"].values()):
            variant["train"].pop("minutes", None)
            variant["train"]["steps"] = request.training_steps
    settings = params.parse(document, params.FILE)
    for name, revision in changed_revisions(root, settings).items():
        console.print(f"prepare: {name} changed at its source, revision {revision}")
        document["datasets"][name]["revision"] = revision
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def prepare(repository: Repository, branch: str, tip: str, run_id: str, request: Request) -> Plan:
    """Pin a run to a commit, and have that checked out as far as params.yaml goes. A retry finds the same commit."""
    run, root = word(run_id), repository.root
    pinned = repository.commit_of(f"{RUNS}{run}")
    if pinned is None:
        pinned, text = tip, repository.text(tip, params.FILE)
        asked = params_text(root, text, request)
        if asked != text:
            message = f"Params of {run_id}\n\n{request.model_dump_json(exclude_none=True)}"
            pinned = repository.commit([tip], {params.FILE: asked.encode()}, message)
        repository.move({f"{RUNS}{run}": (None, pinned)})
    base = repository.git("merge-base", pinned, tip)
    write_bytes(root / params.FILE, repository.text(pinned, params.FILE).encode())
    return Plan(run, branch, base, pinned, request.standing, [node.name for node in stage_nodes(root)])


def refuse_edits(repository: Repository) -> None:
    """Raise RatewrightError where tracked files were edited: a run is of a commit.

    dvc.lock is the runs' own. params.yaml may be as an unfinished run left it.
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
    """Commit dvc.lock, tag it, move the branch if it is a standing run's, push; a retry finds what is done."""
    if not (repository.root / LOCK).exists():
        raise RatewrightError(f"{repository.root / LOCK} is missing: no stage of this run has finished")
    files = {LOCK: (repository.root / LOCK).read_bytes()}
    if plan.commit != plan.base:
        files[params.FILE] = repository.text(plan.commit, params.FILE).encode()
    for _ in range(_PUSHES):
        if remote is not None:
            repository.git("fetch", "--quiet", "--tags", remote)
        if (done := repository.commit_of(plan.tag)) is not None:
            console.print(f"commit: {plan.tag.removeprefix('refs/tags/')} is there already, {done[:12]}")
            break
        if _published(repository, plan, files, remote):
            break
    else:
        raise RatewrightError(f"{remote} refused {_PUSHES} pushes, the branch {plan.branch} moved each time")
    _tidy(repository, plan, remote)


def _published(repository: Repository, plan: Plan, files: dict[str, bytes], remote: str | None) -> bool:
    """Make the commit on the branch's tip of this moment and publish it; False where the tip moved meanwhile."""
    local = f"refs/heads/{plan.branch}"
    tip = repository.commit_of(local if remote is None else f"refs/remotes/{remote}/{plan.branch}")
    reason = _stays(repository, plan, tip)
    # The commit that the run was of stays in the history: checkpoints name it.
    parents = [plan.commit] if reason or tip is None or tip == plan.base else [tip]
    if plan.commit not in (*parents, plan.base):
        parents.append(plan.commit)
    made = repository.commit(parents, files, _message(repository.root, plan))
    if remote is not None:
        refs = [f"{made}:{plan.tag}", *([] if reason else [f"{made}:{local}"])]
        try:
            repository.git("push", "--quiet", "--atomic", remote, *refs)
        except RatewrightError:
            repository.git("fetch", "--quiet", "--tags", remote)
            if repository.commit_of(f"refs/remotes/{remote}/{plan.branch}") != tip or repository.commit_of(plan.tag):
                return False
            raise
    moves: dict[str, tuple[str | None, str]] = {}
    if repository.commit_of(plan.tag) is None:
        moves[plan.tag] = (None, made)
    if reason is None and tip is not None and repository.commit_of(local) == tip:
        moves[local] = (tip, made)
    repository.move(moves)
    console.print(f"commit: {made[:12]} is tag {plan.tag.removeprefix('refs/tags/')}")
    console.print(f"commit: {plan.branch} {f'stays where it is: {reason}' if reason else 'follows'}")
    return True


def _stays(repository: Repository, plan: Plan, tip: str | None) -> str | None:
    """Why the branch, now at `tip`, does not follow the run; None if it does."""
    if not plan.standing:
        return "the run was of other params than its own"
    if tip is None or repository.git("merge-base", plan.base, tip) != plan.base:
        return f"it does not have {plan.base[:12]}, which the run is of"
    moved = [path for path in PIPELINE if repository.blob(plan.base, path) != repository.blob(tip, path)]
    return f"{', '.join(moved)} changed meanwhile" if moved else None


def _tidy(repository: Repository, plan: Plan, remote: str | None) -> None:
    """Forget the run's own ref; the work tree's params.yaml and dvc.lock are the branch's again."""
    if repository.commit_of(plan.ref) is not None:
        repository.git("update-ref", "-d", plan.ref)
    if remote is not None and repository.git("ls-remote", remote, plan.ref):
        repository.git("push", "--quiet", remote, f":{plan.ref}")
    if (repository.root / params.FILE).exists():
        tracked = [path for path in (params.FILE, LOCK) if repository.blob("HEAD", path) is not None]
        repository.git("checkout", "--quiet", "HEAD", "--", *tracked)


def _message(root: Path, plan: Plan) -> str:
    decision: dict[str, Any] = {}
    if (registry := Layout(root).registry).exists():
        decision = read_json(registry)
    outcome = f"{decision['model']}: {decision['decision']}\n\n{decision['why']}" if decision else "no decision"
    return f"Retrained, {outcome}\n\nRun {plan.run} of {plan.commit}"
