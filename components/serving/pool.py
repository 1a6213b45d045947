"""The workers of a service: requests wait for one, those that end are replaced, a new version replaces all at once."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from ..errors import RatewrightError
from .limits import Limits
from .messages import Message
from .metrics import Metrics
from .refusal import Refusal
from .source import Version
from .worker_process import Worker, WorkerDied

LONGEST_PAUSE_S = 30.0
"""Between two attempts to start a worker."""

logger = logging.getLogger(__name__)


class Pool:
    """Workers with the same versions.

    Args:
        limits: Of the service.
        metrics: Of the service.

    Attributes:
        versions: What the workers hold, the current version first.
    """

    def __init__(self, limits: Limits, metrics: Metrics):
        self._limits, self._metrics = limits, metrics
        self._workers: set[Worker] = set()
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._usual_s = 1.0
        self.versions: tuple[Version, ...] = ()

    @property
    def model(self) -> dict[str, str] | None:
        """Codec, model hash and version; None while no worker lives."""
        return next((worker.model for worker in self._workers if worker.alive), None)

    @property
    def living(self) -> int:
        """How many workers live."""
        return sum(worker.alive for worker in self._workers)

    async def exchange(self, versions: Sequence[Version]) -> None:
        """Replace all workers by ones with other versions, once these have loaded. Requests go on meanwhile.

        One worker alone loads first, so that versions that do not load disturb little.

        Raises:
            RatewrightError: They do not load; the workers stay as they are.
        """
        new = [await Worker.start(versions, self._limits)]
        others = [Worker.start(versions, self._limits) for _ in range(self._limits.processes - 1)]
        started = await asyncio.gather(*others, return_exceptions=True)
        new += [worker for worker in started if isinstance(worker, Worker)]
        if failures := [failure for failure in started if isinstance(failure, BaseException)]:
            for worker in new:
                worker.end()
            raise failures[0]
        self._workers, self.versions = set(), tuple(versions)
        for worker in new:
            self._add(worker)
        while not self._idle.empty():
            self._idle.get_nowait().end()
        for worker in new:
            self._idle.put_nowait(worker)  # those of `former` that are at work end after it

    async def run(
        self, work: str, options: dict[str, Any], body: bytearray, gone: Callable[[], Awaitable[bool]]
    ) -> Message:
        """What a worker answers to a request.

        Args:
            work: The name of a method of `Work`.
            options: For it.
            body: Of the request.
            gone: Whether the client has left, which nothing is done for then.

        Raises:
            Refusal: The worker refused it, took too long or ended.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                worker = await self._next()
        except TimeoutError:
            text = f"no worker was free within the {self._limits.seconds:g} s that a request waits"
            raise Refusal(503, text, self.pause(self._limits.queue)) from None
        started, usable = time.monotonic(), False
        try:
            if await gone():
                usable = True
                raise Refusal(499, "the client has left")
            async with asyncio.timeout(self._limits.seconds):
                facts, answer = await worker.call({"work": work, **options}, body)
            usable = not facts.pop("spent", False)  # memory that ran out may be in pieces
        except WorkerDied:
            raise Refusal(503, "the worker of this request ended; the service goes on", self.pause(0)) from None
        except TimeoutError:
            raise Refusal(504, f"this takes longer than the {self._limits.seconds:g} s allowed") from None
        finally:
            self._usual_s += 0.1 * (time.monotonic() - started - self._usual_s)
            if usable and worker.alive and worker in self._workers:
                self._idle.put_nowait(worker)
            else:
                worker.end()
        if facts["status"] != 200:
            raise Refusal(facts["status"], facts["text"])
        return facts, answer

    def pause(self, waiting: int) -> int:
        """Whole seconds after which so many waiting requests will be done."""
        return max(1, math.ceil(self._usual_s * waiting / self._limits.processes))

    async def close(self) -> None:
        """End all workers, whatever they do."""
        former, self._workers = self._workers, set()
        for task in self._tasks:
            task.cancel()
        for worker in former:
            worker.end()
        await asyncio.gather(*(worker.wait() for worker in former))

    async def _next(self) -> Worker:
        """A worker that has nothing to do, in the order in which requests came."""
        while True:
            worker = await self._idle.get()
            if worker in self._workers and worker.alive:
                return worker

    def _add(self, worker: Worker) -> None:
        self._workers.add(worker)
        self._do(self._watch(worker))

    async def _watch(self, worker: Worker) -> None:
        """Replace a worker that ends though it should not."""
        status = await worker.wait()
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        worker.end()
        self._metrics.worker_ends.inc()
        logger.warning("worker %d ended with status %d and is replaced", worker.pid, status)
        versions, pause = self.versions, 1.0
        while versions is self.versions:
            try:
                new = await Worker.start(versions, self._limits)
            except (RatewrightError, OSError) as error:
                logger.warning("no worker can be started: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            if versions is self.versions:
                self._add(new)
                self._idle.put_nowait(new)
            else:  # exchanged meanwhile
                new.end()
            return

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the event loop itself keeps no reference
        task.add_done_callback(self._tasks.discard)
