"""A sweep: experiments that go on where they were stopped, and are left to whoever runs them already."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from components.errors import RatewrightError
from pipeline.documents import Evaluation
from pipeline.paths import Layout
from pipeline.schedule.dvc_cache import cache_folder
from pipeline.schedule.git import Repository
from pipeline.schedule.local.repro import Display, stop_requests
from pipeline.schedule.local.run_lock import Busy, only_run
from pipeline.schedule.local.runner import Demand
from pipeline.schedule.sweeps.experiments import evaluations, locked_stages, recorded
from pipeline.schedule.sweeps.sweep_plan import Experiment, SweepPlan
from pipeline.schedule.sweeps.sweep_round import Round

OTHERS_S = 1.0
"""Seconds between two looks whether another sweep has left an experiment."""


@dataclass(frozen=True)
class Measured:
    """What an experiment measured, by its targets and by what differs among experiments; nothing if it failed."""

    experiment: Experiment
    evaluations: list[Evaluation]


class Sweep:
    """The experiments of a plan in a checkout.

    Attributes:
        failures: Why an experiment failed, by name.
        stopped: Whether the user stopped the sweep.
    """

    def __init__(self, repository: Repository, plan: SweepPlan, machine: Demand, display: Display):
        """Look which experiments exist; nothing runs yet.

        Args:
            repository: The checkout; its workspace stays as it is.
            plan: The experiments.
            machine: What the machine has.
            display: Shows the run.

        Raises:
            RatewrightError: An experiment of the same name and commit has other params.
        """
        self._repository, self._plan, self._machine, self._display = repository, plan, machine, display
        self._folder = Layout(repository.root).sweep
        self._unfinished = [experiment for experiment in plan.experiments if not self._is_finished(experiment)]
        self.failures: dict[str, str] = {}
        self.stopped = False

    def run(self) -> None:
        """Run what is unfinished. An experiment that another sweep runs is left to that one, and waited for.

        Raises:
            RatewrightError: Git, DVC or MLflow fails.
        """
        for experiment in self._plan.experiments:
            if experiment not in self._unfinished:
                self._display.say(f"recorded  {experiment.name} (by an earlier sweep)")
        told = False
        with stop_requests() as requests:
            while self._unfinished and not self.stopped:
                with self._locked() as own:
                    if own:
                        running = Round(self._repository, self._plan.base, own, self._machine, self._display)
                        self.failures |= running.run(requests)
                if not own:
                    if not told:
                        names = ", ".join(experiment.name for experiment in self._unfinished)
                        self._display.say(f"waiting for another sweep, which runs {names}")
                    told = True
                    time.sleep(OTHERS_S)
                self.stopped = requests() > 0
                self._unfinished = [
                    each for each in self._unfinished if each.name not in self.failures and not self._is_finished(each)
                ]

    def measured(self) -> list[Measured]:
        """What each experiment measured, in the order of the plan."""
        cache = cache_folder(self._repository.root)
        found = []
        for experiment in self._plan.experiments:
            _, lock = recorded(self._repository, self._plan.base, experiment.name) or ("", "")
            own = [name for name in experiment.stages if name in experiment.targets or name not in self._plan.common]
            found.append(Measured(experiment, evaluations(lock, own, cache)))
        return found

    def _is_finished(self, experiment: Experiment) -> bool:
        """Whether the experiment exists with all its stages. Raises RatewrightError if it has other params."""
        found = recorded(self._repository, self._plan.base, experiment.name)
        if found is None:
            return False
        settings, lock = found
        if settings != experiment.settings:
            advice = f"choose another --name, or `dvc exp remove {experiment.name}`"
            raise RatewrightError(f"there is an experiment {experiment.name} with another params.yaml: {advice}")
        return experiment.stages.keys() <= locked_stages(lock).keys()

    @contextmanager
    def _locked(self) -> Iterator[list[Experiment]]:
        """The unfinished experiments that no other sweep runs, nor begins to run until the end of the context."""
        own = []
        with ExitStack() as stack:
            for experiment in self._unfinished:
                lock = self._folder / f"{experiment.name}.lock"
                with suppress(Busy):
                    stack.enter_context(only_run(lock, os.getpid(), self._display.say))
                    own.append(experiment)
            yield [experiment for experiment in own if not self._is_finished(experiment)]
