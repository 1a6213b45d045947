"""One stage that DVC reproduces in a process of its own: its log, its time limit, its progress."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from components.errors import RatewrightError
from pipeline.schedule.local import dvc_stages, warm_stages
from pipeline.schedule.local.dvc_stages import CommandFailed
from pipeline.schedule.local.forked_process import ForkedProcess, Forwarding, Message
from pipeline.schedule.local.runner import Outcome, Result
from pipeline.schedule.stage_nodes import StageNode
from pipeline.terminal import PROGRESS_VARIABLE

_ERROR_WITHIN = 2000
"""Characters at the end of a log in which the line with the error is looked for."""
LOCK_PATIENCE_S = 10.0
"""Seconds without news of a stage after which the holder of DVC's lock is named."""


class Progress(NamedTuple):
    """How far a stage has come, as it says itself."""

    label: str
    done: int
    total: int


class StageRun:
    """A stage that runs.

    Attributes:
        log: The file with the output of DVC and of the stage's command.
        state: "checking" until DVC knows whether the command must run, then "running".
    """

    def __init__(
        self,
        root: Path,
        node: StageNode,
        order: Sequence[str],
        present: Collection[str],
        folder: Path,
        say: Callable[[str], None],
        environment: Mapping[str, str] = MappingProxyType({}),
    ):
        """Start it.

        Args:
            root: The checkout.
            node: The stage.
            order: Names of the stages of the run, in the order of `dvc repro`.
            present: Names of the stages that dvc.lock had before the run.
            folder: Where logs lie.
            say: Called with lines for the user, such as why it waits.
            environment: Variables added to those of this process.

        Raises:
            OSError: No process or file can be made.
        """
        self.log = log_of(folder, node.name)
        self.state = "checking"
        self._root, self._node, self._say = root, node, say
        self._progress = self.log.with_suffix(".progress")
        self._progress.unlink(missing_ok=True)
        self._started = self._news = time.monotonic()
        self._running_since: float | None = None
        self._end: Message | None = None
        self._stopped, self._too_long, self._said = False, False, ""

        def work(tell: Callable[[Message], None]) -> None:
            _reproduce(root, node.name, order, present, tell)

        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        own = {PROGRESS_VARIABLE: str(self._progress), "PATH": path, "PYTHONUNBUFFERED": "1"}
        self.process = ForkedProcess(work, self.log, {**environment, **own})

    def poll(self) -> Outcome | None:
        """Its end; None while it runs."""
        status = self.process.status()
        for message in self.process.messages():
            self._take(message)
        if status is None:
            self._watch()
            return None
        self.process.close()
        self._progress.unlink(missing_ok=True)
        return self._outcome(status)

    def stop(self) -> None:
        """Ask it to end; what it has not saved by the end of a grace period is lost."""
        self._stopped = True
        self.process.ask_to_end()

    def kill(self) -> None:
        """End it at once."""
        self._stopped = True
        self.process.kill()

    def progress(self) -> Progress | None:
        """How far its command has come, if it says so."""
        try:
            return Progress(*json.loads(self._progress.read_text()))
        except (OSError, ValueError, TypeError):  # none yet, or it is being written
            return None

    def _take(self, message: Message) -> None:
        self._news = time.monotonic()
        match message["event"]:
            case "command":
                self.state, self._running_since = "running", self._news
            case "busy":
                self._say_once(f"{self._node.name} waits: {message['text']}")
            case "end":
                self._end = message

    def _watch(self) -> None:
        """Stop a command that takes too long, and name who keeps DVC from going on."""
        now = time.monotonic()
        longest_s = 3600 * self._node.longest_hours
        if self._running_since is not None and now - self._running_since > longest_s and not self._too_long:
            self._too_long = True
            self._say(f"{self._node.name} takes longer than {self._node.longest_hours:g} h: it is stopped")
            self.process.ask_to_end()
        if self.state == "checking" and now - self._news > LOCK_PATIENCE_S:
            holder = dvc_stages.lock_holder(self._root)
            if holder is not None and holder != self.process.pid and Path(f"/proc/{holder}").exists():
                self._say_once(f"{self._node.name} waits: DVC's lock is held by process {holder}")

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)

    def _outcome(self, status: int) -> Outcome:
        seconds = time.monotonic() - self._started
        end = self._end or {}
        if end.get("result") in ("ran", "from the run cache", "unchanged"):
            return Outcome(Result(end["result"]), seconds)
        if self._too_long:
            limit = f"longer than {self._node.longest_hours:g} h (meta.longest_hours in dvc.yaml)"
            return Outcome(Result.FAILED, seconds, f"it took {limit} and was stopped")
        if self._stopped:
            return Outcome(Result.STOPPED, seconds)
        if "why" in end:
            return Outcome(Result.FAILED, seconds, end["why"])
        return Outcome(Result.FAILED, seconds, f"its dvc {_described(status)}")


def log_of(folder: Path, name: str) -> Path:
    """The log of a stage."""
    return folder / f"{name.replace('/', '_').replace(':', '_')}.log"


def _reproduce(
    root: Path, name: str, order: Sequence[str], present: Collection[str], tell: Callable[[Message], None]
) -> None:
    """What the stage's process does. The log of a run before stays if the command need not run."""
    os.chdir(root)  # DVC looks for stages from the current folder on
    kept = os.fstat(1).st_size
    forwarding = Forwarding()

    def on_command() -> None:
        forwarding.must_not_end = True  # once it has ended well, its outputs are saved, which takes seconds
        sys.stdout.flush()
        os.ftruncate(1, 0)
        tell({"event": "command"})

    def on_busy(text: str) -> None:
        tell({"event": "busy", "text": text})

    warm_stages.fork_commands(root, forwarding.spared)
    try:
        result = dvc_stages.reproduce(root, name, order, present, on_command, on_busy)
    except CommandFailed as error:
        tell({"event": "end", "why": _why(error.status)})
        return
    except (RatewrightError, OSError) as error:
        tell({"event": "end", "why": " ".join(str(error).split())})
        return
    if result == "unchanged":
        with suppress(OSError):
            os.ftruncate(1, kept)
    tell({"event": "end", "result": result})


def _described(status: int) -> str:
    """How a process ended, from its exit status; shells add 128 to the number of a signal."""
    number = -status if status < 0 else status - 128
    if 0 < number < signal.NSIG:
        return f"was killed by {signal.Signals(number).name}" + (
            " (no memory left?)" if number == signal.SIGKILL else ""
        )
    return f"exited with {status}"


def _why(status: int) -> str:
    """Why a command failed: the line with its error at the end of the log, which is standard output, or its status."""
    sys.stdout.flush()
    last = Path("/proc/self/fd/1").read_text(errors="replace")[-_ERROR_WITHIN:].splitlines()
    errors = [line for line in last if line.startswith("error: ")]
    return errors[-1].removeprefix("error: ") if errors else f"its command {_described(status)}"
