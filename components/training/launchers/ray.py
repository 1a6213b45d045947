"""Trainings on a Ray cluster, asked for and followed from anywhere, and never begun twice."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from components.data.shard_reader import Shards
from components.distributed.ray_cluster import connect
from components.errors import RatewrightError, one_line
from components.storage.atomic import sha256_of
from components.storage.locations import exists, put, remove
from components.training.config import TrainingCallback
from components.training.interrupt import stop_requests
from components.training.job import TrainingJob
from components.training.launchers.ray_supervisor import Demand, Supervisor
from components.training.loop import Interrupted
from components.training.state import TrainingState

_ASK_EVERY_S = 0.3
_ANSWER_S = 180.0  # a supervisor has libraries to import
_STOP_S = 120.0  # for a training to end its step, or a validation, and save its state


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
    say: Callable[[str], None]
    shards: str | None = None
    cache_bytes: int = 0
    restarts: int = 3
    wait_s: float = 30.0

    def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
        """Train `job` to its end, or attach to the training that another process began and left.

        Raises Interrupted on SIGINT and SIGTERM, which stop the training, and RatewrightError where it fails, the
        cluster lacks what it asks for, or is lost sight of: then it may go on.
        """
        job.refuse_uneven(self.demand.workers)
        connect(self.address)
        sent = self._sent(job)
        for _ in range(self.restarts + 1):
            supervisor = self._supervisor(sent)
            try:
                self._follow(sent, supervisor, callback)
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
            remove(self._place_of(job.start))

    def _supervisor(self, job: TrainingJob) -> Any:
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
        actor = ray.remote(num_cpus=0, max_concurrency=4)(Supervisor)
        lasting = actor.options(name=name, lifetime="detached", get_if_exists=True)
        return lasting.remote(job, self.demand, self.restarts, self.wait_s)

    def _follow(self, job: TrainingJob, supervisor: Any, callback: TrainingCallback) -> None:
        """Tell `callback` how the training goes, until its end. Raises what became of it."""
        heard, deadline = 0, None
        with stop_requests() as stopping:
            while True:
                news = ray.get(supervisor.news.remote(heard), timeout=_ANSWER_S)
                heard += len(news.lasting)
                for entry in news.lasting:
                    if isinstance(entry, str):
                        self.say(f"{job.name}: {entry}")
                    else:
                        callback.on_validation(entry)
                if news.progress is not None:
                    callback.on_step(*news.progress)
                if news.failure is not None:
                    ray.kill(supervisor)
                    raise news.failure
                if news.finished:
                    return
                if stopping() and deadline is None:
                    deadline = time.monotonic() + (_STOP_S if news.running else 0.0)
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
        """A copy of the file in the storage."""
        location = self._place_of(path)
        if not exists(location):
            put(Path(path), location)
        return location

    def _place_of(self, path: str) -> str:
        return f"{self.storage}/files/{sha256_of(Path(path))}{Path(path).suffix}"
