"""The loop of the local runner: it starts stages whose upstream is done while slots are free, and watches them.

It knows neither DVC nor processes nor the terminal: what it starts is given to it, and so is who watches.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pipeline.schedule.stage_nodes import StageNode


class Result(Enum):
    """How a stage ended."""

    RAN = "ran"
    CACHED = "from the run cache"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Outcome:
    """The end of a stage."""

    result: Result
    seconds: float = 0.0
    """From its start to its end."""
    why: str = ""
    """The reason of a failure, in one line."""

    @property
    def good(self) -> bool:
        """Whether the stage's outputs are there."""
        return self.result in (Result.RAN, Result.CACHED, Result.UNCHANGED)


@dataclass(frozen=True)
class Demand:
    """What a stage takes of the machine while it runs."""

    slots: int = 1
    """Shares of the cores, each with the threads of a stage."""
    gpus: int = 0


class Job(Protocol):
    """A stage that was started."""

    def poll(self) -> Outcome | None:
        """Its end; None while it runs."""

    def stop(self) -> None:
        """Ask it to end soon; a training saves its state first."""

    def kill(self) -> None:
        """End it at once."""


class Watcher(Protocol):
    """Is told what happens."""

    def started(self, node: StageNode, slots: Sequence[int]) -> None:
        """A stage was started in `slots`, numbers below that of all slots."""

    def ended(self, node: StageNode, outcome: Outcome) -> None:
        """A stage ended."""

    def looked(self, running: Collection[str]) -> None:
        """All running stages were looked at; called many times a second."""


class LocalRunner:
    """Runs stages on one machine.

    Attributes:
        outcomes: Name -> end of each stage that ended.
    """

    def __init__(
        self,
        nodes: Sequence[StageNode],
        priority: Mapping[str, float],
        capacity: Demand,
        demands: Mapping[str, Demand],
        *,
        keep_going: bool = False,
    ):
        """Set up; nothing is started yet.

        Args:
            nodes: The stages to run; upstream outside of them is done.
            priority: Name -> priority; of the stages that could start, that with the largest is started first.
            capacity: What the machine has. A demand beyond it gets all of it.
            demands: What stages take; one slot where a name is missing.
            keep_going: Whether stages that do not need a failed one are still started.
        """
        self.outcomes: dict[str, Outcome] = {}
        self._nodes = sorted(nodes, key=lambda node: -priority[node.name])
        self._names = {node.name for node in nodes}
        self._capacity, self._keep_going = capacity, keep_going
        self._demands = {node.name: _within(demands.get(node.name, Demand()), capacity) for node in nodes}
        self._order = list(nodes)
        self._running: dict[str, Job] = {}
        self._free = list(range(capacity.slots))
        self._taken: dict[str, list[int]] = {}
        self._free_gpus = capacity.gpus

    def run(
        self,
        start: Callable[[StageNode], Job],
        watcher: Watcher,
        pause: Callable[[], None],
        stop_requests: Callable[[], int] = lambda: 0,
    ) -> dict[str, Outcome]:
        """Run all stages that can run; returns how each of those ended.

        Args:
            start: Starts a stage. One for which it raises OSError has failed.
            watcher: Is told what happens.
            pause: Waits until it is time to look at the running stages again.
            stop_requests: How often the user asked to stop. Once stops running stages, twice kills them.
        """
        stopped = 0
        while True:
            requests = stop_requests()
            if requests > stopped:
                stopped = requests
                for job in self._running.values():
                    job.stop() if requests == 1 else job.kill()
            before = len(self.outcomes)
            if not stopped:
                self._start_ready(start, watcher)
            if not self._running:
                if len(self.outcomes) == before:
                    return self.outcomes
                continue
            pause()
            self._collect(watcher)
            watcher.looked(self._running.keys())

    def _start_ready(self, start: Callable[[StageNode], Job], watcher: Watcher) -> None:
        """Start stages until none is ready that fits: one that must wait for a GPU does not hold up the others."""
        failed = {name for name, outcome in self.outcomes.items() if not outcome.good}
        if failed and not self._keep_going:
            return
        for node in self._nodes:
            demand = self._demands[node.name]
            begun = node.name in self._running or node.name in self.outcomes
            if begun or demand.slots > len(self._free) or demand.gpus > self._free_gpus or not self._is_ready(node):
                continue
            try:
                job = start(node)
            except OSError as error:  # a full disk, no process left
                self.outcomes[node.name] = Outcome(Result.FAILED, why=f"it could not be started: {error}")
                watcher.ended(node, self.outcomes[node.name])
                return
            taken, self._free = self._free[: demand.slots], self._free[demand.slots :]
            self._taken[node.name] = taken
            self._free_gpus -= demand.gpus
            self._running[node.name] = job
            watcher.started(node, taken)

    def _is_ready(self, node: StageNode) -> bool:
        awaited = (self.outcomes.get(above) for above in node.upstream if above in self._names)
        return all(outcome is not None and outcome.good for outcome in awaited)

    def _collect(self, watcher: Watcher) -> None:
        """Take note of the stages that ended."""
        ends = {name: outcome for name, job in self._running.items() if (outcome := job.poll()) is not None}
        for node in [node for node in self._order if node.name in ends]:
            del self._running[node.name]
            self._free = sorted([*self._free, *self._taken.pop(node.name)])
            self._free_gpus += self._demands[node.name].gpus
            self.outcomes[node.name] = ends[node.name]
            watcher.ended(node, ends[node.name])

    def never_started(self) -> list[str]:
        """The stages that were not started, in the order of the stages."""
        return [node.name for node in self._order if node.name not in self.outcomes]


def _within(demand: Demand, capacity: Demand) -> Demand:
    return Demand(min(demand.slots, capacity.slots), min(demand.gpus, capacity.gpus))
