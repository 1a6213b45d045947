"""`dvc repro` in parallel: what DVC finds changed, as many stages at once as the machine has room for."""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from components.errors import RatewrightError
from pipeline.schedule.local import dvc_stages, warm_stages
from pipeline.schedule.local.critical_path import estimates, longest_paths
from pipeline.schedule.local.forked_process import ForkedProcess, Message
from pipeline.schedule.local.run_lock import only_run
from pipeline.schedule.local.runner import Demand, LocalRunner, Outcome, Result
from pipeline.schedule.local.stage_run import LOCK_PATIENCE_S, StageRun, log_of
from pipeline.schedule.local.stage_times import StageTimes
from pipeline.schedule.stage_nodes import StageNode

LOOK_S = 0.25
"""Seconds between two looks at the running stages, if none of them tells something."""


@dataclass(frozen=True)
class Plan:
    """What a run does."""

    nodes: tuple[StageNode, ...]
    """The stages that may have to run, in the order of `dvc repro`: each comes after its upstream."""
    unchanged: frozenset[str]
    """Names of the stages that need not."""
    order: tuple[str, ...]
    """Names of all of them, in the order of `dvc repro`."""
    present: frozenset[str]
    """Names of the stages in dvc.lock."""


class Display(Protocol):
    """Shows a run to the user."""

    def begin(self, plan: Plan, estimate: dict[str, float], slots: int) -> None:
        """The run begins; `estimate` has the seconds that each of its stages will take."""

    def say(self, text: str) -> None:
        """A line for the user."""

    def started(self, node: StageNode, run: StageRun) -> None:
        """A stage was started."""

    def ended(self, node: StageNode, outcome: Outcome) -> None:
        """A stage ended."""

    def refresh(self) -> None:
        """Called many times a second."""

    def end(self) -> None:
        """Nothing runs any more."""


@dataclass(frozen=True)
class Summary:
    """How a run ended."""

    plan: Plan
    outcomes: dict[str, Outcome]
    """Name -> end of each stage that was started."""
    never_started: list[str]
    stopped: bool
    """Whether the user stopped it."""
    logs: Path
    """The folder of the logs."""

    @property
    def failed(self) -> dict[str, Outcome]:
        """Name -> end of each stage that failed."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome.result is Result.FAILED}

    def log(self, name: str) -> Path:
        """The log of a stage."""
        return log_of(self.logs, name)


def reproduce(
    root: Path,
    targets: Sequence[str],
    capacity: Demand,
    demands: Callable[[Sequence[StageNode]], dict[str, Demand]],
    display: Display,
    *,
    keep_going: bool = False,
) -> Summary:
    """Run the stages of the checkout at `root` that DVC finds changed.

    Stages run side by side, those on the longest path first. A stage that fails stops the start of others.

    Args:
        root: The checkout.
        targets: Stages, as `dvc repro` takes them; none for all of dvc.yaml.
        capacity: What the machine has.
        demands: What the stages take, by name; one slot where a name is missing.
        display: Shows the run.
        keep_going: Whether stages that do not need a failed one are still started.

    Raises:
        RatewrightError: DVC refuses the stages, or another run works in this checkout.
    """
    work = root / "work"
    with only_run(work / "repro" / "lock", os.getpid(), display.say), stop_requests() as requests:
        dvc_stages.load_dvc(root)
        plan = _planned(root, targets, work / "logs" / "plan.log", display, requests)
        times = StageTimes(work / "repro" / "times.json")
        estimate = estimates(plan.nodes, times.seconds)
        runner = LocalRunner(
            plan.nodes, longest_paths(plan.nodes, estimate), capacity, demands(plan.nodes), keep_going=keep_going
        )
        display.begin(plan, estimate, capacity.slots)
        try:
            display.refresh()
            warm_stages.load(root, len(plan.nodes))
            watcher = _Watcher(display, times)

            def start(node: StageNode) -> StageRun:
                run = StageRun(root, node, plan.order, plan.present, work / "logs", display.say)
                return watcher.begun(node, run)

            runner.run(start, watcher, watcher.pause, requests)
        finally:
            display.end()
        return Summary(plan, runner.outcomes, runner.never_started(), requests() > 0, work / "logs")


class _Watcher:
    """Passes on what happens to the display, and records the times of stages."""

    def __init__(self, display: Display, times: StageTimes):
        self._display, self._times = display, times
        self._runs: dict[str, StageRun] = {}
        self._began: dict[str, tuple[float, Sequence[int]]] = {}

    def begun(self, node: StageNode, run: StageRun) -> StageRun:
        self._runs[node.name] = run
        return run

    def started(self, node: StageNode, slots: Sequence[int]) -> None:
        self._began[node.name] = time.time(), slots
        self._display.started(node, self._runs[node.name])

    def ended(self, node: StageNode, outcome: Outcome) -> None:
        self._runs.pop(node.name, None)
        if outcome.result is Result.RAN:
            began, slots = self._began[node.name]
            try:
                self._times.record(node.name, began, outcome.seconds, slots)
            except OSError as error:
                self._display.say(f"the time of {node.name} is not kept: {error}")
        self._display.ended(node, outcome)

    def looked(self, _: Collection[str]) -> None:
        self._display.refresh()

    def pause(self) -> None:
        ForkedProcess.wait([run.process for run in self._runs.values()], LOOK_S)


def _planned(root: Path, targets: Sequence[str], log: Path, display: Display, stop_requests: Callable[[], int]) -> Plan:
    """DVC's plan, made in a process of its own, so that this one has no files, locks or threads of DVC."""

    def work(tell: Callable[[Message], None]) -> None:
        try:
            tell({"plan": dvc_stages.plan(root, targets)})
        except RatewrightError as error:
            tell({"why": str(error)})

    log.unlink(missing_ok=True)
    process = ForkedProcess(work, log, {})
    messages: list[Message] = []
    patient_until = time.monotonic() + LOCK_PATIENCE_S
    while (status := process.status()) is None:
        ForkedProcess.wait([process], LOOK_S)
        messages += process.messages()
        if stop_requests():
            process.ask_to_end()
        if time.monotonic() > patient_until and (holder := dvc_stages.lock_holder(root)) not in (None, process.pid):
            display.say(f"waiting for DVC's lock, which process {holder} holds")
            patient_until = float("inf")
    messages += process.messages()
    process.close()
    if stop_requests():
        raise KeyboardInterrupt
    if not messages or "why" in messages[0]:
        raise RatewrightError(messages[0]["why"] if messages else f"dvc ended with status {status}, see {log}")
    found = messages[0]["plan"]
    unchanged = frozenset(found["unchanged"])
    nodes = [StageNode.of_meta(name, tuple(upstream), meta) for name, upstream, meta in found["nodes"]]
    return Plan(
        nodes=tuple(node for node in nodes if node.name not in unchanged),
        unchanged=unchanged,
        order=tuple(node.name for node in nodes),
        present=frozenset(found["present"]),
    )


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Yield a function that tells how often the user asked to stop: a second time counts for Ctrl-C alone."""
    requests = 0

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal requests
        requests = requests + 1 if number == signal.SIGINT else max(1, requests)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has a run outlive its terminal
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield lambda: requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
