"""Stages in forks of a process that has loaded their libraries once, where a new Python takes seconds for each.

A fork does what `python -m pipeline.stages.NAME` does: its own `__main__`, standard streams, signals and environment.
"""

import atexit
import gc
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from components.training.interrupt import die_with_parent
from pipeline import entry, terminal
from pipeline.paths import CHECKOUT
from pipeline.schedule.machine import gpus

FEWEST = 4
"""Stages from which on it takes less time to load the libraries once."""

_COMMAND = re.compile(r"exec python -m (pipeline\.stages\.\w+)((?: [\w@%+=:,./-]+)*)")
"""A command that is a stage, with words that mean the same without a shell."""
_STAGES = ("fetch", "validate", "shard", "train", "calibrate", "evaluate", "choose", "report", "register")
_LATE = (
    "components.training.loop", "components.training.launchers.local", "mlflow.store.tracking.sqlalchemy_store",
    "torch._dynamo", "threadpoolctl", "cv2", "sqlalchemy.orm",
)  # fmt: skip
"""What stages import when they need it."""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""With these, numpy and Arrow start no threads when they are imported; a process that forks must have one."""
_loaded = False
"""Whether this process has loaded the libraries, and still has one thread."""


def load(root: Path, stages: int) -> None:
    """Load the libraries of stages into this process, where that saves time and a fork can use them.

    That is not so where another checkout's code runs here, for few stages, and beside GPUs: CUDA wants new processes.

    Args:
        root: The checkout whose stages will run.
        stages: How many will.
    """
    global _loaded
    if not _is_ours(root) or stages < FEWEST or gpus():
        return
    with entry.uncollected(), _environment({**os.environ, **_ONE_THREAD}):
        for module in (*(f"pipeline.stages.{name}" for name in _STAGES), *_LATE):
            import_module(module)
        sys.modules["sqlalchemy.orm"].configure_mappers()
    gc.freeze()
    _loaded = sum(1 for _ in Path("/proc/self/task").iterdir()) == 1


def fork_commands(root: Path, spared: set[int]) -> None:
    """From now on, DVC runs a command that is a stage of `root` in a fork of this process as it is now.

    The fork is made at once and waits: DVC starts threads before it runs a command, and a process that forks must have
    one. Commands that are no stages get a new process from DVC, as all do where `load` has loaded nothing.

    Args:
        root: The checkout.
        spared: Has the number of the fork while that waits.
    """
    if not _loaded or not _is_ours(root):
        return
    import dvc.stage.run
    from dvc.stage.exceptions import StageCmdFailedError

    run_in_shell, waiting = dvc.stage.run._run, _Waiting(root)
    spared.add(waiting.pid)

    def run(executable: str, cmd: str, **options: Any) -> None:
        stage = _COMMAND.fullmatch(cmd)
        if stage is None or Path(options["cwd"]) != root or waiting.pid not in spared:
            run_in_shell(executable, cmd, **options)
            return
        spared.remove(waiting.pid)
        if status := waiting.run(stage[1], stage[2].split(), options["env"]):
            raise StageCmdFailedError(cmd, status)

    dvc.stage.run._run = run


def _is_ours(root: Path) -> bool:
    """Whether the code of this process is that of the checkout."""
    return root.resolve() == CHECKOUT


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Other environment variables."""
    before = dict(os.environ)
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


class _Waiting:
    """A fork that waits for the stage that it is to run. It ends if none comes."""

    def __init__(self, root: Path):
        reading, self._writing = os.pipe()
        # A signal that comes while the fork has no handlers of its own yet waits for them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._writing)
            _be_a_stage(reading, root, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reading)

    def run(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a stage to its end; returns its exit status, a negative number for a signal."""
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as DVC does
        try:
            with suppress(BrokenPipeError), os.fdopen(self._writing, "w") as request:  # it may have been killed
                json.dump([module, arguments, dict(environment)], request)
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        finally:
            signal.signal(signal.SIGINT, interrupt)


def _be_a_stage(reading: int, root: Path, mask: set[int | signal.Signals]) -> NoReturn:
    """Wait for the request, be the process of its stage, and end."""
    status = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with open(reading) as pipe:
            request = pipe.read()
        if not request:
            os._exit(0)
        module, arguments, environment = json.loads(request)
        _set_environment(environment)
        os.chdir(root)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        # This one may be a terminal's, with a table on it.
        vars(terminal.console).update(vars(terminal.console_on_output()))
        main = import_module(module)
        sys.modules["__main__"] = main  # where processes that it starts look for what they need
        sys.argv = [str(main.__file__), *arguments]
        sys.path[0] = str(root)
        entry.stage(main.run)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing of the runner's may run in this process
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
