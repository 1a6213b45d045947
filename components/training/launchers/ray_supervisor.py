"""The part of a Ray training that runs in the cluster: a supervisor, and the workers that it starts."""

import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer

from ...distributed.ray_cluster import contents, workers_that_fit
from ...errors import RatewrightError, one_line
from ..callback import NoOpCallback, Validation
from ..interrupt import Interrupted
from ..job import TrainingJob
from ..resources import Resources
from ..state import TrainingState

Progress = tuple[float, int, float]
"""Share of the budget used, step, and loss of that step."""

_REPORT_EVERY_S = 0.5


def worker_count(resources: Resources) -> int:
    """Number of workers on Ray: one unless `resources` says otherwise."""
    return resources.workers or 1


class Status(NamedTuple):
    """Status of a training in the cluster.

    entries: validations and messages, in their order. progress: the last step reported.
    running: whether workers train. finished: whether the training ended well. failure: the error that ended it.
    """

    entries: Sequence[Validation | str]
    progress: Progress | None
    running: bool
    finished: bool
    failure: RatewrightError | None


class Supervisor:
    """A Ray actor that runs one training, restarts it after lost workers, and outlives the process that started it."""

    def __init__(self, job: TrainingJob, resources: Resources, restarts: int, wait_s: float):
        """Start the training in a thread.

        Args:
            job: the training; every path in it must be readable on every node.
            resources: workers, and what each of them gets.
            restarts: how often the training may resume after a lost worker.
            wait_s: seconds that the cluster may take to provide the resources.
        """
        self._job, self._resources, self._restarts, self._wait_s = job, resources, restarts, wait_s
        self._entries: list[Validation | str] = []
        self._progress: Progress | None = None
        self._running = self._finished = False
        self._failure: RatewrightError | None = None
        self._interrupted: str | None = None
        self._stop_requested = False
        self._handle = ray.get_runtime_context().current_actor
        threading.Thread(target=self._run, daemon=True).start()

    def status(self, skip: int) -> Status:
        """Return the status, without the first `skip` entries."""
        return Status(self._entries[skip:], self._progress, self._running, self._finished, self._failure)

    def stop(self) -> None:
        """Request that the training saves its state and stops."""
        self._stop_requested = True

    def report(self, progress: Progress | None, entries: Sequence[Validation | str]) -> bool:
        """Accept progress from rank 0, and return whether the training should stop."""
        self._running, self._progress = True, progress or self._progress
        self._entries.extend(entries)
        return self._stop_requested

    def report_interrupted(self, message: str) -> None:
        """Accept from rank 0 that the training has stopped."""
        self._interrupted = message

    def _run(self) -> None:
        try:
            self._wait_for_resources()
            self._train_with_restarts()
            if self._interrupted is not None:
                # Raised only now: Ray has released the workers, and the next training can have their resources.
                raise Interrupted(self._interrupted)
        except RatewrightError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - any failure must reach the process that waits for the training
            self._failure = RatewrightError(f"{self._job.name}: {one_line(error)[:500]}")
        self._finished = self._failure is None

    def _train_with_restarts(self) -> None:
        for attempt in range(self._restarts + 1):
            lost = self._attempt(attempt)
            self._running = False
            if lost is None:
                return
            if self._stop_requested:
                raise Interrupted("stopped; run the same command to go on from the last saved state")
            if attempt == self._restarts:
                raise RatewrightError(f"{self._job.name}: lost a worker {attempt + 1} times, the last time: {lost}")
            self._entries.append(f"lost a worker ({lost}); goes on from its last saved state")

    def _attempt(self, number: int) -> str | None:
        """Train to the end and return None, or return how a worker was lost. Raises errors that a user can mend."""
        resources = self._resources
        work = tempfile.mkdtemp(prefix="ratewright-ray-")
        try:
            TorchTrainer(
                _train_rank,
                train_loop_config={"job": self._job, "supervisor": self._handle},
                scaling_config=ScalingConfig(
                    num_workers=worker_count(resources),
                    use_gpu=resources.gpus > 0,
                    resources_per_worker=_nonzero(_per_worker(resources)),
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
                if (known := _ratewright_error_in(cause)) is not None:
                    raise known from error
            # The error of a dead worker tells more than the errors of those that waited for it.
            return _describe_loss(max(causes, key=lambda cause: hasattr(cause, "health_check_failure")))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return None

    def _wait_for_resources(self) -> None:
        """Wait until the cluster has the resources, which an autoscaler may add. Raises RatewrightError."""
        workers, per_worker = worker_count(self._resources), _per_worker(self._resources)
        deadline = time.monotonic() + self._wait_s
        if workers_that_fit(per_worker) >= workers:
            return
        from ray.util.placement_group import placement_group, remove_placement_group

        pending = placement_group([_nonzero(per_worker)] * workers)  # an autoscaler acts on pending groups
        try:
            while workers_that_fit(per_worker) < workers:
                if self._stop_requested or time.monotonic() > deadline:
                    needs = _describe(self._resources)
                    raise RatewrightError(f"{self._job.name} asks for {needs}; the cluster has {contents()}")
                time.sleep(1)
        finally:
            remove_placement_group(pending)


class _SupervisorCallback:
    """Callback of rank 0 that reports to the supervisor, whose answer says whether to stop."""

    def __init__(self, supervisor: Any):
        self._supervisor = supervisor
        self._reported_at = 0.0
        self._stop = False

    def stop_requested(self) -> bool:
        """Whether the supervisor's last answer was to stop."""
        return self._stop

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Report the step, unless the last report was less than half a second ago."""
        if time.monotonic() - self._reported_at > _REPORT_EVERY_S:
            self._report((spent, step, loss), [])

    def on_validation(self, validation: Validation) -> None:
        """Report the validation."""
        self._report(None, [validation])

    def message(self, text: str) -> None:
        """Report a message for the user."""
        self._report(None, [text])

    def _report(self, progress: Progress | None, entries: list[Validation | str]) -> None:
        self._stop = ray.get(self._supervisor.report.remote(progress, entries))
        self._reported_at = time.monotonic()


def _train_rank(settings: dict[str, Any]) -> None:
    """Train as one worker, in the process that Ray Train started for it."""
    job: TrainingJob = settings["job"]
    context = ray.train.get_context()
    if context.get_world_rank() > 0:
        with suppress(Interrupted):
            job.train(NoOpCallback())
        return
    callback = _SupervisorCallback(settings["supervisor"])
    step = TrainingState.load(job.state, job.fingerprint).step
    callback.message(f"begins at step {step} with {context.get_world_size()} workers")
    try:
        job.train(callback, callback.stop_requested)
    except Interrupted as error:
        ray.get(settings["supervisor"].report_interrupted.remote(str(error)))


def _per_worker(resources: Resources) -> dict[str, float]:
    """Resources of a worker by Ray's names; memory in bytes."""
    return {"CPU": resources.cpus, "GPU": resources.gpus, "memory": 1e9 * (resources.memory_gb or 0)}


def _nonzero(amounts: dict[str, float]) -> dict[str, float]:
    return {name: amount for name, amount in amounts.items() if amount}


def _describe(resources: Resources) -> str:
    memory = f" and {resources.memory_gb:g} GB of memory" if resources.memory_gb else ""
    return f"{worker_count(resources)} workers with {resources.cpus} CPUs, {resources.gpus} GPUs{memory} each"


def _describe_loss(error: BaseException) -> str:
    """Describe in a few words how a worker was lost."""
    said = one_line(getattr(error, "health_check_failure", error))
    if "low on memory" in said or "OutOfMemory" in said or "OOM" in said:
        return "its node ran out of memory; resources.*.memory_gb has Ray reserve some"
    return "its process or its node died" if "died" in said else said[:200]


def _ratewright_error_in(error: BaseException | None) -> RatewrightError | None:
    """Find the RatewrightError among the causes of `error`."""
    while error is not None and not isinstance(error, RatewrightError):
        error = error.__cause__ or getattr(error, "cause", None) or getattr(error, "_base_exc", None)
    return error
