"""DVC's part of a parallel run: the plan of the stages, and one stage reproduced. Each runs in a process of its own."""

import gc
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import RatewrightError, one_line
from components.storage.atomic import write_json
from pipeline.schedule.local.dvc_lock_file import stages_in, use_own_entry

if TYPE_CHECKING:
    from dvc.repo import Repo

BUSY_S = 1.0
"""Seconds between two attempts at a stage whose files another DVC uses."""

_LOOK_AT_LOCK_S = 0.05
"""Seconds between two looks at DVC's lock. DVC's own half second costs each stage several of them."""

logger = logging.getLogger(__name__)


class CommandFailed(RatewrightError):
    """The command of a stage failed.

    Attributes:
        status: Its exit status; a negative number is a signal.
    """

    def __init__(self, status: int):
        super().__init__(f"the command exited with {status}")
        self.status = status


def load_dvc(root: Path) -> None:
    """Import what DVC needs to run stages, so that processes forked from this one need not.

    Raises:
        RatewrightError: `root` is not in a repository of DVC.
    """
    with _errors(), _repository(root):  # opening it imports the most
        # what DVC imports when it reproduces its first stage
        import dulwich.index  # noqa: F401
        import dvc.parsing.interpolate
        import dvc.repo.graph
        import dvc.repo.index
        import dvc.repo.reproduce
        import dvc.rwlock
        import dvc.stage.cache
        import dvc.stage.run
        import dvc.utils.strictyaml  # noqa: F401
        import dvc_data.hashfile.status  # noqa: F401
        import psutil  # noqa: F401
        import pyparsing  # noqa: F401
    gc.freeze()  # what is here stays: the collector of a forked process need not walk it, nor copy its pages


def plan(root: Path, targets: Sequence[str]) -> dict[str, Any]:
    """What `dvc repro` would look at.

    Args:
        root: The checkout.
        targets: Stages, their instances or files, as `dvc repro` takes them; none for all of dvc.yaml.

    Returns:
        nodes: name, upstream and meta of each stage that the targets need, in the order of `dvc repro`;
        unchanged: names of those that neither changed nor need one that may; present: the names in dvc.lock.

    Raises:
        RatewrightError: DVC refuses a target, dvc.yaml, params.yaml or dvc.lock.
    """
    from dvc.repo import lock_repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with _errors(), _repository(root) as repo, lock_repo(repo):
        forget_the_dead(Path(repo.tmp_dir))
        graph = get_active_graph(repo.index.graph)
        stages = plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"]))
        above = {stage.addressing: sorted(each.addressing for each in graph.successors(stage)) for stage in stages}
        unchanged: set[str] = set()
        for stage in stages:
            if unchanged.issuperset(above[stage.addressing]) and not _may_have_changed(stage):
                unchanged.add(stage.addressing)
        return {
            "nodes": [(stage.addressing, above[stage.addressing], dict(stage.meta or {})) for stage in stages],
            "unchanged": sorted(unchanged),
            "present": stages_in(root),
        }


def reproduce(
    root: Path,
    name: str,
    order: Sequence[str],
    present: Collection[str],
    on_command: Callable[[], None],
    on_busy: Callable[[str], None],
) -> str:
    """Reproduce one stage, as `dvc repro --single-item` does; wait where another DVC uses its files.

    Args:
        root: The checkout.
        name: The stage.
        order: Names of the stages of the run, in the order of `dvc repro`.
        present: Names of the stages that dvc.lock had before the run.
        on_command: Called when the stage's command starts, if it must run.
        on_busy: Called with DVC's words if another DVC uses the stage's files.

    Returns:
        "ran", "from the run cache", or "unchanged" if neither was needed.

    Raises:
        CommandFailed: The stage's command failed.
        RatewrightError: DVC failed; why, in one line.
    """
    from dvc.exceptions import ReproductionError
    from dvc.lock import LockError
    from dvc.stage.exceptions import StageCmdFailedError

    use_own_entry(name, order, present)
    heard = _Listener(on_command)
    logging.getLogger("dvc").addHandler(heard)
    with _errors(), _repository(root) as repo:
        while True:
            try:
                repo.reproduce(name, single_item=True)
            except ReproductionError as error:
                if isinstance(error.__cause__, StageCmdFailedError):
                    raise CommandFailed(int(str(error.__cause__).rpartition(" ")[2])) from error
                if not isinstance(error.__cause__, LockError):
                    raise RatewrightError(one_line(error.__cause__ or error)) from error
                on_busy(one_line(error.__cause__).partition(" If there are no")[0])
                time.sleep(BUSY_S)
            else:
                return heard.result


def lock_holder(root: Path) -> int | None:
    """The process that DVC's lock of the checkout names, which holds it if it still runs."""
    with suppress(FileNotFoundError, ValueError):
        return int((root / ".dvc" / "tmp" / "lock").read_text())
    return None


def forget_the_dead(folder: Path) -> None:
    """Remove from DVC's list of files in use what processes left that were killed. DVC's lock must be held.

    DVC forgets the dead too, but takes any process that has got such a one's number for it; and a list that a kill or a
    full disk has cut off stops it.

    Args:
        folder: DVC's folder of temporary files.
    """
    path = folder / "rwlock"
    if not path.exists():
        return
    try:
        used = json.loads(path.read_text())
        written = path.stat().st_mtime
        readers = {
            file: [info for info in each if _holds(info, written)] for file, each in used.get("read", {}).items()
        }
        writers = {file: info for file, info in used.get("write", {}).items() if _holds(info, written)}
    except (ValueError, TypeError, KeyError, AttributeError):
        logger.warning("%s was cut off by a kill or a full disk: removed", path)
        path.unlink()
        return
    alive = {"write": writers, "read": {file: each for file, each in readers.items() if each}}
    if alive != {"write": used.get("write", {}), "read": used.get("read", {})}:
        write_json(path, alive)


def _holds(info: dict[str, Any], written: float) -> bool:
    """Whether the process of an entry, made before the time `written`, still runs."""
    import psutil

    try:
        return bool(psutil.Process(info["pid"]).create_time() <= written)
    except psutil.NoSuchProcess:
        return False


def _may_have_changed(stage: Any) -> bool:
    """What DVC finds; a stage whose files another DVC uses right now may have changed."""
    from dvc.lock import LockError

    try:
        return bool(stage.changed())
    except LockError:
        return True


class _Listener(logging.Handler):
    """Listens to DVC for what it does with a stage."""

    def __init__(self, on_command: Callable[[], None]):
        super().__init__()
        self.result = "unchanged"
        self._on_command = on_command

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Running stage"):
            self.result = "ran"
            self._on_command()
        elif "is cached - skipping run" in str(record.msg):
            self.result = "from the run cache"


def _repository(root: Path) -> "Repo":
    """DVC's repository, whose lock is waited for."""
    import dvc.lock
    from dvc.repo import Repo

    dvc.lock.DEFAULT_TIMEOUT = _LOOK_AT_LOCK_S * 6  # DVC looks six times in it, and with `_wait_for_lock` ever again
    repo = Repo(str(root), _wait_for_lock=True)
    repo.scm_context.quiet = True  # no advice to add dvc.lock to git after each stage
    return repo


@contextmanager
def _errors() -> Iterator[None]:
    """Raise RatewrightErrors of one line for the errors of DVC."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        cause = f": {one_line(error.__cause__)}" if error.__cause__ else ""
        raise RatewrightError(f"dvc: {one_line(error)}{cause}") from error
