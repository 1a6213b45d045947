"""Trainings on a Ray cluster: started once, and followed from any machine that reaches the cluster."""

import logging
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from ...data.shard_reader import Shards
from ...distributed.ray_cluster import connect
from ...errors import RatewrightError, one_line
from ...storage.atomic import sha256_of
from ...storage.locations import exists, put, remove
from ..callback import TrainingCallback
from ..interrupt import Interrupted, stop_requests
from ..job import TrainingJob
from ..resources import Resources
from ..state import TrainingState
from .ray_supervisor import Status, Supervisor, worker_count

logger = logging.getLogger(__name__)

_POLL_EVERY_S = 0.3
_ANSWER_S = 180.0  # a new supervisor imports libraries before it answers
_STOP_S = 120.0  # for a training to end its step, or a validation, and save its state


@dataclass(frozen=True)
class RayLauncher:
    """Runs trainings on a Ray cluster, each under a supervisor of its own there.

    Attributes:
        address: the cluster, as `connect` takes it.
        resources: workers, and what each of them gets.
        storage: a folder that every node has, or an s3:// prefix. It holds copies of shards and weights, and the states
            of trainings. Each node and this process use their own credentials for S3.
        shards: a folder or prefix from which nodes read shards instead; each set lies under its name.
        cache_bytes: how many bytes of remote shards a node keeps copies of.
        restarts: how often a training resumes after it lost a worker.
        wait_s: seconds that the cluster may take to provide the resources.
    """

    address: str | None
    resources: Resources
    storage: str
    shards: str | None = None
    cache_bytes: int = 0
    restarts: int = 3
    wait_s: float = 30.0

    def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
        """Train `job` to its end, or follow the same training if another process started it.

        Args:
            job: the training.
            callback: receives the progress.

        Returns:
            The final state.

        Raises:
            Interrupted: on SIGINT or SIGTERM, which stop the training.
            RatewrightError: if the training fails, or the cluster lacks the resources. Also if the connection to the
                cluster is lost; the training there may continue.
        """
        job.check_divisible(worker_count(self.resources))
        connect(self.address)
        uploaded = self._uploaded(job)
        for _ in range(self.restarts + 1):
            supervisor = self._supervisor(uploaded)
            try:
                self._follow(uploaded, supervisor, callback)
            except RayActorError as error:
                logger.warning("%s: its supervisor was lost (%s)", job.name, one_line(error)[:100])
                continue
            except (GetTimeoutError, RayError, ConnectionError) as error:
                lost = f"lost the connection to the cluster ({one_line(error)[:200]})"
                raise RatewrightError(f"{job.name}: {lost}; the same command attaches to the training there") from error
            finished = TrainingState.load(uploaded.state, job.fingerprint)
            ray.kill(supervisor)
            return finished
        raise RatewrightError(f"{job.name}: its supervisor was lost {self.restarts + 1} times")

    def remove_state(self, job: TrainingJob) -> None:
        """Remove the training's state, and its own copy of the checkpoint that it started from.

        Copies of shards and weights stay: other trainings read them too.
        """
        remove(self._state_of(job))
        if job.start is not None:
            remove(self._start_of(job, job.start))

    def _supervisor(self, job: TrainingJob) -> Any:
        """Return the actor of the training, which is started if it is not running; a failed one is replaced."""
        name = f"training-{job.fingerprint[:32]}"
        try:
            known = ray.get_actor(name)
            if ray.get(known.status.remote(0), timeout=_ANSWER_S).failure is None:
                logger.info("%s: attached to the running training", job.name)
                return known
            ray.kill(known)
        except (ValueError, RayActorError):  # no actor of this name, or one that just ended
            pass
        actor = ray.remote(num_cpus=0, max_concurrency=4)(Supervisor)
        detached = actor.options(name=name, lifetime="detached", get_if_exists=True)
        return detached.remote(job, self.resources, self.restarts, self.wait_s)

    def _follow(self, job: TrainingJob, supervisor: Any, callback: TrainingCallback) -> None:
        """Pass the progress to `callback` until the training ends. Raises the error that ended it."""
        received, deadline = 0, None
        with stop_requests() as stopping:
            while True:
                status: Status = ray.get(supervisor.status.remote(received), timeout=_ANSWER_S)
                received += len(status.entries)
                _pass_on(job, status, callback)
                if status.failure is not None:
                    ray.kill(supervisor)
                    raise status.failure
                if status.finished:
                    return
                if stopping() and deadline is None:
                    deadline = time.monotonic() + (_STOP_S if status.running else 0.0)
                    supervisor.stop.remote()
                if deadline is not None and time.monotonic() > deadline:
                    ray.kill(supervisor)
                    raise Interrupted(f"{job.name}: stopped; run the same command to go on from its last saved state")
                time.sleep(_POLL_EVERY_S)

    def _uploaded(self, job: TrainingJob) -> TrainingJob:
        """Copy every file that the job reads to the storage, and return the job with those addresses."""
        return replace(
            job,
            shards=self._uploaded_shards(job.shards),
            state=self._state_of(job),
            weights={name: _uploaded_file(path, self._shared_file(path)) for name, path in job.weights.items()},
            start=None if job.start is None else _uploaded_file(job.start, self._start_of(job, job.start)),
        )

    def _state_of(self, job: TrainingJob) -> str:
        return f"{self.storage}/states/{job.fingerprint}.safetensors"

    def _uploaded_shards(self, shards: Shards) -> Shards:
        """Return the same shards where the nodes can read them; copy them there if need be."""
        folder = Path(shards.location)
        index = folder / "index.json"
        cache = str(Path(tempfile.gettempdir()) / "ratewright-shards")
        if self.shards is not None:
            elsewhere = Shards(f"{self.shards.rstrip('/')}/{folder.name}", cache, self.cache_bytes)
            if elsewhere.index() != shards.index():
                raise RatewrightError(f"{elsewhere.location}: these shards differ from {folder}")
            return elsewhere
        location = f"{self.storage}/shards/{sha256_of(index)[:32]}"
        if not exists(f"{location}/index.json"):
            files = sorted(path.name for path in folder.glob("*.tar"))
            logger.info("copying %d shards to %s", len(files), location)
            for name in [*files, index.name]:  # the index last: it marks a complete copy
                put(folder / name, f"{location}/{name}")
        return Shards(location, cache, self.cache_bytes)

    def _shared_file(self, path: str) -> str:
        """The address of a file for all trainings that read it."""
        return f"{self.storage}/files/{sha256_of(Path(path))}{Path(path).suffix}"

    def _start_of(self, job: TrainingJob, path: str) -> str:
        """The address of a start checkpoint for one training alone, so that its removal takes it from no other."""
        return f"{self.storage}/states/{job.fingerprint}-start-{sha256_of(Path(path))[:32]}{Path(path).suffix}"


def _uploaded_file(path: str, location: str) -> str:
    """Copy the file to the storage if it is not there, and return the address of the copy."""
    if not exists(location):
        put(Path(path), location)
    return location


def _pass_on(job: TrainingJob, status: Status, callback: TrainingCallback) -> None:
    """Log the messages of `status`, and call `callback` with its validations and its last step."""
    for entry in status.entries:
        if isinstance(entry, str):
            logger.info("%s: %s", job.name, entry)
        else:
            callback.on_validation(entry)
    if status.progress is not None:
        callback.on_step(*status.progress)
