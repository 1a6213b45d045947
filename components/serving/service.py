"""A service without its HTTP: who may send a body, what a worker answers, whether all is well."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .follower import Follower
from .limits import Limits
from .messages import Message
from .metrics import Metrics
from .pool import Pool
from .refusal import Refusal
from .source import ModelSource

STARTING_S = 5
"""Seconds after which a client may ask a service again that loads its model."""


@dataclass(frozen=True)
class Request:
    """What a client asks for.

    Attributes:
        work: `compress` or `decompress`.
        options: For it, see `Work`.
        announced: The length of the body, if the client said it.
        chunks: The body.
        gone: Whether the client has left.
    """

    work: str
    options: dict[str, Any]
    announced: int | None
    chunks: AsyncIterator[bytes]
    gone: Callable[[], Awaitable[bool]]


class Service:
    """A service of the newest version of a model.

    Args:
        source: Of the model.
        limits: What is taken.
        scratch: A folder for the files of versions.

    Attributes:
        stopping: Whether it takes no more requests.
    """

    def __init__(self, source: ModelSource, limits: Limits, scratch: Path):
        self.source, self.limits, self.metrics, self.stopping = source, limits, Metrics(), False
        self.pool = Pool(limits, self.metrics)
        self.follower = Follower(source, self.pool, self.metrics, scratch, limits.poll)
        self._admitted = 0
        self.metrics.queue_length.set_function(lambda: max(0, self._admitted - limits.processes))
        self.metrics.workers.set_function(lambda: self.pool.living)

    async def answer(self, request: Request) -> Message:
        """The answer to a request, counted. Raises Refusal."""
        started, status, work = time.perf_counter(), 500, request.work
        try:
            facts, answer = await self._admit(request)
            status = 200
        except Refusal as refusal:
            status = refusal.status
            raise
        except asyncio.CancelledError:  # a service that is stopped waits no longer
            status = 503
            raise Refusal(status, "the service has stopped", STARTING_S) from None
        finally:
            self.metrics.requests.labels(work, status).inc()
            self.metrics.seconds.labels(work).observe(time.perf_counter() - started)
        self.metrics.pixels.labels(work).inc(facts["width"] * facts["height"])
        self.metrics.sent_bytes.labels(work).inc(len(answer))
        return facts, answer

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether the service takes requests, and what it is."""
        model = self.pool.model
        state = "stopping" if self.stopping else "ready" if model else "loading"
        workers = {"workers": self.pool.living, "waiting": max(0, self._admitted - self.limits.processes)}
        known = {"status": state, "source": self.source.name, **(model or {}), **workers}
        return state == "ready", {**known, "problem": self.follower.problem}

    async def _admit(self, request: Request) -> Message:
        """The answer, if there is a place for the request, which is taken before its body: that bounds memory."""
        if self.stopping or not self.pool.versions:
            raise Refusal(503, f"the service {'is stopping' if self.stopping else 'has no model yet'}", STARTING_S)
        if self._admitted >= self.limits.processes + self.limits.queue:
            raise Refusal(429, "too many requests wait already", self.pool.pause(self._admitted))
        self._admitted += 1
        try:
            body = await self._body(request)
            self.metrics.received_bytes.labels(request.work).inc(len(body))
            await request.gone()  # uvicorn reads on when it is asked, and only then sees a client leave while it waits
            return await self.pool.run(request.work, request.options, body, request.gone)
        finally:
            self._admitted -= 1

    async def _body(self, request: Request) -> bytearray:
        most, body = self.limits.body_bytes, bytearray()
        too_large = Refusal(413, f"the body has more than the {most} bytes allowed")
        if request.announced is not None and request.announced > most:
            raise too_large
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for chunk in request.chunks:
                    if len(body) + len(chunk) > most:
                        raise too_large
                    body += chunk
        except TimeoutError:
            raise Refusal(408, f"the body takes longer than the {self.limits.seconds:g} s allowed") from None
        if not body:
            raise Refusal(422, "the request has no body")
        return body
