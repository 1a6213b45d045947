"""Experiments that run side by side: the stages of all of them share the machine, and each has a clone of its own."""

import shutil
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from components.errors import RatewrightError, one_line
from pipeline.config import params
from pipeline.paths import Layout
from pipeline.schedule.git import Repository
from pipeline.schedule.local import dvc_stages
from pipeline.schedule.local.critical_path import estimates, longest_paths
from pipeline.schedule.local.demands import demands
from pipeline.schedule.local.forked_process import ForkedProcess
from pipeline.schedule.local.repro import LOOK_S, Display, Plan
from pipeline.schedule.local.runner import Demand, LocalRunner, Outcome, Result
from pipeline.schedule.local.stage_run import StageRun
from pipeline.schedule.local.stage_times import StageTimes
from pipeline.schedule.run_commits import LOCK
from pipeline.schedule.stage_nodes import StageNode
from pipeline.schedule.sweeps import experiment_clone
from pipeline.schedule.sweeps.experiments import locked_stages, record
from pipeline.schedule.sweeps.sweep_graph import ExperimentStage, sweep_graph
from pipeline.schedule.sweeps.sweep_plan import Experiment

CACHED_S = 1.0
"""Seconds that a stage takes which another experiment runs too: DVC has its outputs by then."""


class Round:
    """A run of some experiments; the local runner's watcher."""

    def __init__(
        self,
        repository: Repository,
        base: str,
        experiments: Sequence[Experiment],
        machine: Demand,
        display: Display,
    ):
        """Set up; nothing runs yet.

        Args:
            repository: The checkout.
            base: The commit that the experiments start from.
            experiments: What to run. No other process may use their clones meanwhile.
            machine: What the machine has.
            display: Shows the run.
        """
        self._repository, self._base, self._machine, self._display = repository, base, machine, display
        self._folder = Layout(repository.root).sweep
        self._times = StageTimes(self._folder / "times.json")
        self._stages = sweep_graph(experiments)
        self._left = {experiment.name: set(experiment.stages) for experiment in experiments}
        self._present: dict[str, list[str]] = {}
        self._runs: dict[str, StageRun] = {}
        self._began: dict[str, tuple[float, Sequence[int]]] = {}
        self._failures: dict[str, str] = {}

    def run(self, stop_requests: Callable[[], int]) -> dict[str, str]:
        """Run all experiments; one that fails does not stop the others.

        Args:
            stop_requests: How often the user asked to stop.

        Returns:
            Why experiments failed, by name.

        Raises:
            RatewrightError: A clone cannot be made.
        """
        dvc_stages.load_dvc(self._repository.root)
        nodes, estimate = [each.node for each in self._stages.values()], self._estimates()
        runner = LocalRunner(nodes, longest_paths(nodes, estimate), self._machine, self._demands(), keep_going=True)
        self._display.begin(Plan(tuple(nodes), frozenset(), (), frozenset()), estimate, self._machine.slots)
        try:
            runner.run(self._start, self, self._pause, stop_requests)
        finally:
            self._display.end()
        if not stop_requests():
            for name in runner.never_started():
                self._fail_blocked(self._stages[name])
        return self._failures

    def started(self, node: StageNode, slots: Sequence[int]) -> None:
        """Show that a stage was started."""
        self._began[node.name] = time.time(), slots
        self._display.started(node, self._runs[node.name])

    def ended(self, node: StageNode, outcome: Outcome) -> None:
        """Show that a stage ended, and make the experiment if it was the last one."""
        run, (began, slots), ended = self._runs.pop(node.name), self._began[node.name], self._stages[node.name]
        if outcome.result is Result.RAN:
            with suppress(OSError):  # times are for estimates alone
                self._times.record(ended.stage, began, outcome.seconds, slots)
        if outcome.result is Result.FAILED:
            outcome = replace(outcome, why=f"{outcome.why} ({run.log})")
            self._failures[ended.experiment.name] = f"{ended.stage} failed: {outcome.why}"
        self._display.ended(node, outcome)
        if outcome.good:
            self._left[ended.experiment.name].remove(ended.stage)
            if not self._left[ended.experiment.name]:
                self._finish(ended.experiment)

    def looked(self, _: Collection[str]) -> None:
        """Show what runs."""
        self._display.refresh()

    def _pause(self) -> None:
        ForkedProcess.wait([run.process for run in self._runs.values()], LOOK_S)

    def _start(self, node: StageNode) -> StageRun:
        """Start a stage in its experiment's clone, which the first one makes."""
        root, begun = self._repository.root, self._stages[node.name]
        experiment = begun.experiment
        folder = self._folder / experiment.name
        if experiment.name not in self._present:
            experiment_clone.prepare(root, folder, self._base, experiment.settings, experiment.lock)
            self._present[experiment.name] = [*locked_stages(experiment.lock)]
        self._runs[node.name] = StageRun(
            folder,
            experiment.stages[begun.stage].node,
            [*experiment.stages],
            self._present[experiment.name],
            folder / "work" / "logs",
            self._display.say,
            experiment_clone.environment(root, folder, self._base, experiment.name),
        )
        return self._runs[node.name]

    def _finish(self, experiment: Experiment) -> None:
        """Make the experiment, and remove its clone."""
        folder = self._folder / experiment.name
        try:
            record(self._repository, self._base, experiment.name, experiment.settings, (folder / LOCK).read_text())
        except (RatewrightError, OSError) as error:  # a full disk: the others may have an end of their own
            self._failures[experiment.name] = f"it cannot be recorded: {one_line(error)}"
            self._display.say(f"failed    {experiment.name}: {self._failures[experiment.name]}")
            return
        shutil.rmtree(folder, ignore_errors=True)
        self._display.say(f"recorded  {experiment.name}")

    def _fail_blocked(self, blocked: ExperimentStage) -> None:
        """Have an experiment fail because another one did, unless it failed itself."""
        name = blocked.experiment.name
        if name not in self._failures:
            self._failures[name] = f"{blocked.stage} needs what failed in another experiment"
            self._display.say(f"failed    {name}: {self._failures[name]}")

    def _estimates(self) -> dict[str, float]:
        """Seconds that each stage will take, by the times of sweeps and of the checkout's own runs."""
        known = StageTimes(self._repository.root / "work" / "repro" / "times.json").seconds | self._times.seconds
        own = {each.stage: each.experiment.stages[each.stage].node for each in self._stages.values()}
        seconds = estimates([*own.values()], known)
        return {name: CACHED_S if each.shared else seconds[each.stage] for name, each in self._stages.items()}

    def _demands(self) -> dict[str, Demand]:
        """What the stages take that are not in DVC's cache by then."""
        found: dict[str, Demand] = {}
        for name, each in self._stages.items():
            if not each.shared:
                node = each.experiment.stages[each.stage].node
                for demand in demands(params.loads(each.experiment.settings), [node], self._machine).values():
                    found[name] = demand
        return found
