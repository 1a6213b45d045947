"""A training inside a Ray cluster: who watches over it there, and what its workers do."""

import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer

from components.distributed.ray_cluster import contents, workers_that_fit
from components.errors import RatewrightError, one_line
from components.training.config import Row
from components.training.job import NoCallback, TrainingJob
from components.training.loop import Interrupted
from components.training.state import TrainingState

Progress = tuple[float, int, float]
"""The share of the budget that is used, the step, its loss."""

_TELL_EVERY_S = 0.5


@dataclass(frozen=True)
class Demand:
    """What a training asks of a cluster: `workers`, each with so many cores, GPUs and gigabytes of memory."""

    workers: int = 1
    cpus: int = 1
    gpus: int = 0
    memory_gb: float | None = None

    def of_a_worker(self) -> dict[str, float]:
        """As Ray names resources."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": 1e9 * (self.memory_gb or 0)}

    def __str__(self) -> str:
        memory = f" and {self.memory_gb:g} GB of memory" if self.memory_gb else ""
        return f"{self.workers} workers with {self.cpus} CPUs, {self.gpus} GPUs{memory} each"


class News(NamedTuple):
    """What a supervisor has to say: rows and remarks, the last step, whether workers run, how it ended if it did."""

    lasting: Sequence[Row | str]
    progress: Progress | None
    running: bool
    finished: bool
    failure: RatewrightError | None


class Supervisor:
    """One training in the cluster, which outlives the process that asked for it."""

    def __init__(self, job: TrainingJob, demand: Demand, restarts: int, wait_s: float):
        self._job, self._demand, self._restarts, self._wait_s = job, demand, restarts, wait_s
        self._lasting: list[Row | str] = []
        self._progress: Progress | None = None
        self._running = self._finished = False
        self._failure: RatewrightError | None = None
        self._stopping = False
        self._me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._run, daemon=True).start()

    def news(self, heard: int) -> News:
        """What there is beyond the first `heard` entries."""
        return News(self._lasting[heard:], self._progress, self._running, self._finished, self._failure)

    def stop(self) -> None:
        """Have the training save its state and stop."""
        self._stopping = True

    def hear(self, progress: Progress | None, entries: Sequence[Row | str]) -> bool:
        """From rank 0, how it goes; says whether it is to stop."""
        self._running, self._progress = True, progress or self._progress
        self._lasting.extend(entries)
        return self._stopping

    def interrupted(self, message: str) -> None:
        """From rank 0, that it has stopped."""
        self._failure = Interrupted(message)

    def _run(self) -> None:
        try:
            self._wait()
            for attempt in range(self._restarts + 1):
                lost = self._attempt(attempt)
                self._running = False
                if lost is None:
                    break
                if self._stopping:
                    raise Interrupted("stopped; run the same command to go on from the last saved state")
                if attempt == self._restarts:
                    raise RatewrightError(f"{self._job.name}: lost a worker {attempt + 1} times, the last time: {lost}")
                self._lasting.append(f"lost a worker ({lost}); goes on from its last saved state")
        except RatewrightError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - of any kind: whoever waits must hear of it
            self._failure = RatewrightError(f"{self._job.name}: {one_line(error)[:500]}")
        self._finished = self._failure is None

    def _attempt(self, number: int) -> str | None:
        """Train to the end; otherwise says how a worker was lost. Raises what a user can mend."""
        needed = {name: amount for name, amount in self._demand.of_a_worker().items() if amount}
        work = tempfile.mkdtemp(prefix="ratewright-ray-")
        try:
            TorchTrainer(
                _train_rank,
                train_loop_config={"job": self._job, "supervisor": self._me},
                scaling_config=ScalingConfig(
                    num_workers=self._demand.workers, use_gpu=self._demand.gpus > 0, resources_per_worker=needed
                ),
                run_config=RunConfig(
                    name=f"{self._job.fingerprint[:16]}-{number}",
                    storage_path=work,
                    failure_config=FailureConfig(max_failures=0),
                ),
            ).fit()
        except TrainingFailedError as error:
            causes = list(getattr(error, "worker_failures", {0: error}).values())
            for cause in causes:
                if (own := _own(cause)) is not None:
                    raise own from error
            # One that died says more than those that it left waiting.
            return _reason(max(causes, key=lambda cause: hasattr(cause, "health_check_failure")))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return None

    def _wait(self) -> None:
        """Wait for the cluster to have what is asked for: an autoscaler may bring it. Raises RatewrightError."""
        demand, deadline = self._demand, time.monotonic() + self._wait_s
        needed = demand.of_a_worker()
        if workers_that_fit(needed) >= demand.workers:
            return
        from ray.util.placement_group import placement_group, remove_placement_group

        bundle = {name: amount for name, amount in needed.items() if amount}
        wish = placement_group([bundle] * demand.workers)  # what an autoscaler sees
        try:
            while workers_that_fit(needed) < demand.workers:
                if self._stopping or time.monotonic() > deadline:
                    raise RatewrightError(f"{self._job.name} asks for {demand}; the cluster has {contents()}")
                time.sleep(1)
        finally:
            remove_placement_group(wish)


class _Reporter:
    """Rank 0's callback, which passes on to the supervisor what it is told, and asks it whether to stop."""

    def __init__(self, supervisor: Any):
        self._supervisor = supervisor
        self._told = 0.0
        self._stop = False

    def stopped(self) -> bool:
        """Whether the supervisor last said so."""
        return self._stop

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Tell of it, unless something was told just before."""
        if time.monotonic() - self._told > _TELL_EVERY_S:
            self._tell((spent, step, loss), [])

    def on_validation(self, row: Row) -> None:
        """Tell of it."""
        self._tell(None, [row])

    def begins(self, remark: str) -> None:
        """Tell where it begins."""
        self._tell(None, [remark])

    def _tell(self, progress: Progress | None, entries: list[Row | str]) -> None:
        self._stop = ray.get(self._supervisor.hear.remote(progress, entries))
        self._told = time.monotonic()


def _train_rank(settings: dict[str, Any]) -> None:
    """What every worker runs."""
    job: TrainingJob = settings["job"]
    context = ray.train.get_context()
    if context.get_world_rank() > 0:
        with suppress(Interrupted):
            job.train(NoCallback())
        return
    reporter = _Reporter(settings["supervisor"])
    step = TrainingState.load(job.state, job.fingerprint).step
    reporter.begins(f"begins at step {step} with {context.get_world_size()} workers")
    try:
        job.train(reporter, reporter.stopped)
    except Interrupted as error:
        ray.get(settings["supervisor"].interrupted.remote(str(error)))


def _reason(error: BaseException) -> str:
    """How a worker was lost, in a few words."""
    said = one_line(getattr(error, "health_check_failure", error))
    if "low on memory" in said or "OutOfMemory" in said or "OOM" in said:
        return "its node ran out of memory; resources.*.memory_gb has Ray keep some"
    return "its process or its node died" if "died" in said else said[:200]


def _own(error: BaseException | None) -> RatewrightError | None:
    """The error of this project's that caused it, if one did."""
    while error is not None and not isinstance(error, RatewrightError):
        error = error.__cause__ or getattr(error, "cause", None) or getattr(error, "_base_exc", None)
    return error
