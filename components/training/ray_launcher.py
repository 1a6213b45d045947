"""Trainings on a Ray cluster, where they go on whether or not anybody waits for them."""

import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer

from components.cluster import connect, contents, workers_that_fit
from components.errors import RatewrightError, one_line
from components.files import sha256_of
from components.images.shard_reader import Shards
from components.storage import exists, put, remove
from components.training.config import Observer, Row
from components.training.interrupt import stop_requests
from components.training.job import TrainingJob, Unobserved
from components.training.loop import Interrupted
from components.training.state import TrainingState

_ASK_EVERY_S = 0.3
_TELL_EVERY_S = 0.5
_ANSWER_S = 60.0
_STOP_S = 120.0  # for a training to end its step, or a validation, and save its state


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


class Voice(Protocol):
    """Tells the user something in a line."""

    def __call__(self, line: str) -> None:
        """Say it."""


@dataclass(frozen=True)
class RayLauncher:
    """Runs trainings on the Ray cluster at `address` (see `connect`), each under a supervisor of its own there.

    storage: a folder that every node has, or an s3:// prefix: copies of shards and weights, and states of trainings.
        S3 is reached with the credentials of whoever reads or writes: the nodes have their own.
    shards: where nodes read shards from instead, the set under its name. cache_bytes: what a node keeps copies of.
    restarts: how often a training goes on after it lost a worker. wait_s: what a cluster may take to grow.
    """

    address: str | None
    demand: Demand
    storage: str
    say: Voice
    shards: str | None = None
    cache_bytes: int = 0
    restarts: int = 3
    wait_s: float = 30.0

    def train(self, job: TrainingJob, observer: Observer) -> TrainingState:
        """Train `job` to its end, or attach to the training that another process began and left.

        Raises Interrupted on SIGINT and SIGTERM, which stop the training, and RatewrightError where it fails, the
        cluster lacks what it asks for, or is lost sight of: then it may go on.
        """
        if job.config.batch_size % self.demand.workers:
            raise RatewrightError(f"{job.name}: {self.demand.workers} workers cannot share batches evenly")
        connect(self.address)
        sent = self._sent(job)
        for _ in range(self.restarts + 1):
            supervisor = self._supervisor(sent)
            try:
                self._follow(sent, supervisor, observer)
            except RayActorError as error:
                self.say(f"{job.name}: its supervisor was lost ({one_line(error)[:100]})")
                continue
            except (GetTimeoutError, RayError, ConnectionError) as error:
                lost = f"lost sight of the cluster ({one_line(error)[:200]})"
                raise RatewrightError(f"{job.name}: {lost}; the same command attaches to the training there") from error
            finished = TrainingState.load(sent.state, job.fingerprint)
            ray.kill(supervisor)
            return finished
        raise RatewrightError(f"{job.name}: its supervisor was lost {self.restarts + 1} times")

    def forget(self, job: TrainingJob) -> None:
        """Remove its state, and the checkpoint that it started from."""
        remove(self._state_of(job))
        if job.start is not None:
            remove(self._stored(job.start))

    def _supervisor(self, job: TrainingJob) -> ActorHandle:
        """That of the training, which is begun unless it is under way; a failed one is begun again."""
        name = f"training-{job.fingerprint[:32]}"
        try:
            known = ray.get_actor(name)
            if ray.get(known.news.remote(0), timeout=_ANSWER_S).failure is None:
                self.say(f"{job.name}: attached to the training under way")
                return known
            ray.kill(known)
        except (ValueError, RayActorError):  # none of this name, or one that just ended
            pass
        options = _Supervisor.options(name=name, lifetime="detached", get_if_exists=True)
        return options.remote(job, self.demand, self.restarts, self.wait_s)

    def _follow(self, job: TrainingJob, supervisor: ActorHandle, observer: Observer) -> None:
        """Tell `observer` how the training goes, until its end. Raises what became of it."""
        heard, deadline = 0, None
        with stop_requests() as stopping:
            while True:
                news = ray.get(supervisor.news.remote(heard), timeout=_ANSWER_S)
                heard += len(news.lasting)
                for entry in news.lasting:
                    if isinstance(entry, str):
                        self.say(f"{job.name}: {entry}")
                    else:
                        observer.on_validation(entry)
                if news.progress is not None:
                    observer.on_step(*news.progress)
                if news.failure is not None:
                    ray.kill(supervisor)
                    raise news.failure
                if news.finished:
                    return
                if stopping() and deadline is None:
                    deadline = time.monotonic() + _STOP_S
                    supervisor.stop.remote()
                if deadline is not None and time.monotonic() > deadline:
                    ray.kill(supervisor)
                    raise Interrupted(f"{job.name}: stopped; run the same command to go on from its last saved state")
                time.sleep(_ASK_EVERY_S)

    def _sent(self, job: TrainingJob) -> TrainingJob:
        """The job with everything that it reads in the storage, and its state there."""
        return replace(
            job,
            shards=self._reachable(job.shards),
            state=self._state_of(job),
            weights={name: self._stored(path) for name, path in job.weights.items()},
            start=None if job.start is None else self._stored(job.start),
        )

    def _state_of(self, job: TrainingJob) -> str:
        return f"{self.storage}/states/{job.fingerprint}.safetensors"

    def _reachable(self, shards: Shards) -> Shards:
        """The same shards where the nodes can read them, copied there unless they are."""
        folder = Path(shards.location)
        index = folder / "index.json"
        cache = str(Path(tempfile.gettempdir()) / "ratewright-shards")
        if self.shards is not None:
            elsewhere = Shards(f"{self.shards.rstrip('/')}/{folder.name}", cache, self.cache_bytes)
            if elsewhere.index() != shards.index():
                raise RatewrightError(f"{elsewhere.location}: other shards than {folder}")
            return elsewhere
        location = f"{self.storage}/shards/{sha256_of(index)[:32]}"
        if not exists(f"{location}/index.json"):
            files = sorted(path.name for path in folder.glob("*.tar"))
            self.say(f"copies {len(files)} shards to {location}")
            for name in [*files, index.name]:  # the index last: where it is, all is
                put(folder / name, f"{location}/{name}")
        return Shards(location, cache, self.cache_bytes)

    def _stored(self, path: str) -> str:
        """A copy of the file under the hash of its content."""
        location = f"{self.storage}/files/{sha256_of(Path(path))}{Path(path).suffix}"
        if not exists(location):
            put(Path(path), location)
        return location


class News(NamedTuple):
    """What a supervisor has to say: rows and remarks, the last step, and how it ended if it did."""

    lasting: Sequence[Row | str]
    progress: tuple[float, int, float] | None
    finished: bool
    failure: RatewrightError | None


@ray.remote(num_cpus=0, max_concurrency=4)
class _Supervisor:
    """One training in the cluster, which outlives the process that asked for it."""

    def __init__(self, job: TrainingJob, demand: Demand, restarts: int, wait_s: float):
        self._job, self._demand, self._restarts, self._wait_s = job, demand, restarts, wait_s
        self._lasting: list[Row | str] = []
        self._progress: tuple[float, int, float] | None = None
        self._finished, self._failure = False, None
        self._stopping = False
        self._me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._run, daemon=True).start()

    def news(self, heard: int) -> News:
        """What there is beyond the first `heard` entries."""
        return News(self._lasting[heard:], self._progress, self._finished, self._failure)

    def stop(self) -> None:
        """Have the training save its state and stop."""
        self._stopping = True

    def hear(self, progress: tuple[float, int, float] | None, entries: Sequence[Row | str]) -> bool:
        """From rank 0, how it goes; says whether it is to stop."""
        self._progress = progress or self._progress
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
                if lost is None:
                    break
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
            return one_line(causes[0])[:200]
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
    """Rank 0's observer, which passes on to the supervisor what it is told, and asks it whether to stop."""

    def __init__(self, supervisor: ActorHandle):
        self._supervisor = supervisor
        self._told, self._stop = 0.0, False

    def stopped(self) -> bool:
        """Whether the supervisor said so."""
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

    def _tell(self, progress: tuple[float, int, float] | None, entries: list[Row | str]) -> None:
        self._stop = ray.get(self._supervisor.hear.remote(progress, entries))
        self._told = time.monotonic()


def _train_rank(settings: dict[str, Any]) -> None:
    """What every worker runs."""
    job: TrainingJob = settings["job"]
    context = ray.train.get_context()
    if context.get_world_rank() > 0:
        with suppress(Interrupted):
            job.train(Unobserved())
        return
    reporter = _Reporter(settings["supervisor"])
    step = TrainingState.load(job.state, job.fingerprint).step
    reporter.begins(f"begins at step {step} with {context.get_world_size()} workers")
    try:
        job.train(reporter, reporter.stopped)
    except Interrupted as error:
        ray.get(settings["supervisor"].interrupted.remote(str(error)))


def _own(error: BaseException | None) -> RatewrightError | None:
    """The error of this project's that caused it, if one did."""
    while error is not None and not isinstance(error, RatewrightError):
        error = error.__cause__ or getattr(error, "cause", None) or getattr(error, "_base_exc", None)
    return error
