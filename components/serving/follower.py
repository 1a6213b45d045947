"""Follows the source of a model: a new version is loaded beside the one in use, and then takes its place."""

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from ..errors import RatewrightError
from .metrics import Metrics
from .pool import Pool
from .source import ModelSource, Opener, Version

HELD = 2
"""Versions that decode: the one in use, and the one before it."""
LONGEST_PAUSE = 32
"""Between two attempts to load a version that did not load, in polls."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Follower:
    """Keeps a pool at the newest version of a source.

    Args:
        source: Of the model.
        pool: Whose workers are exchanged.
        metrics: Of the service.
        scratch: A folder for the files of versions.
        poll_s: Seconds between two looks at the source.

    Attributes:
        problem: Why the newest version is not in use, in one line; None if it is.
    """

    def __init__(self, source: ModelSource, pool: Pool, metrics: Metrics, scratch: Path, poll_s: float):
        self._source, self._pool, self._metrics, self._scratch, self._poll_s = source, pool, metrics, scratch, poll_s
        self._folders: dict[str, Path] = {}
        self._failed, self._pause, self._next_attempt = "", 1, 0.0
        self.problem: str | None = None

    async def run(self) -> None:
        """Load the newest version, then follow the source until cancelled. Raises RatewrightError for the first."""
        await self.look()
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.look()
            except (RatewrightError, OSError) as error:
                if self.problem != str(error):
                    logger.warning("%s; version %s stays in use", error, self._pool.versions[0].label)
                self.problem = str(error)

    async def look(self) -> None:
        """Use the newest version if it is not in use. Raises RatewrightError or OSError."""
        label = await in_daemon_thread(self._source.newest)
        if self._pool.versions and label == self._pool.versions[0].label:
            self.problem, self._failed = None, ""
            return
        if label == self._failed and time.monotonic() < self._next_attempt:
            return
        try:
            await self._use(label)
        except (RatewrightError, OSError):
            self._pause = min(2 * self._pause, LONGEST_PAUSE) if label == self._failed else 1
            self._failed, self._next_attempt = label, time.monotonic() + self._pause * self._poll_s
            self._metrics.load_failures.inc()
            raise

    async def _use(self, label: str) -> None:
        held = {version.label: version for version in self._pool.versions}
        former = [each for each in held.values() if each.label != label][: HELD - 1]
        try:
            version = held.get(label) or Version(label, await self._fetch(label))
            await self._pool.exchange([version, *former])
        finally:
            self._forget()
        if (model := self._pool.model) is not None:
            self._metrics.in_use(model)
            logger.info("%s: codec %s, model %s, version %s", self._source.name, *model.values())
        self.problem, self._failed = None, ""

    async def _fetch(self, label: str) -> Opener:
        folder = Path(mkdtemp(dir=self._scratch))
        self._folders[label] = folder
        return await in_daemon_thread(lambda: self._source.fetch(label, folder))

    def _forget(self) -> None:
        """Remove the files of versions that no worker holds."""
        held = {version.label for version in self._pool.versions}
        for label in self._folders.keys() - held:
            shutil.rmtree(self._folders.pop(label), ignore_errors=True)


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises, in a thread that a process does not wait for as it ends."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(error: BaseException | None, result: T | None) -> None:
        if done.done():  # cancelled
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        error, result = None, None
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001 - it is raised where the result is awaited
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, error, result)

    threading.Thread(target=run, daemon=True).start()
    return await done
