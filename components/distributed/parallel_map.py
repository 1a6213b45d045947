"""A function applied to many things at once: by processes of this machine, or by a Ray cluster."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

from components.distributed.ray_cluster import connect, contents, workers_that_fit
from components.errors import RatewrightError

T = TypeVar("T")
R = TypeVar("R")


class Mapped(Protocol):
    """Applies a function to items and gives its results in their order; few of them are under way at a time."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """`function` and items must be picklable. Raises what the function raises."""


def in_processes(workers: int) -> Mapped:
    """By so many processes of this machine."""

    def mapped(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        context = get_context("forkserver")  # forking a process that holds threads can deadlock
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from _in_order(lambda item: pool.submit(function, item).result, items, 2 * workers)

    return mapped


def on_cluster(address: str | None, wait_s: float) -> Mapped:
    """By tasks of one core each on the Ray cluster at `address` (see `connect`), which may take `wait_s` to have one.

    Raises RatewrightError where it cannot be reached or has none.
    """

    def mapped(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        connect(address)
        import ray
        from ray.exceptions import RayTaskError

        def work(item: T) -> R:
            return function(item)

        task: Any = ray.remote(num_cpus=1)(work)  # which takes no partial, as `function` may be

        def result(reference: Any) -> R:
            deadline = time.monotonic() + wait_s
            while not ray.wait([reference], timeout=1.0)[0]:
                if time.monotonic() > deadline and not workers_that_fit({"CPU": 1}):
                    raise RatewrightError(f"no core to work on: the Ray cluster has {contents()}")
            try:
                found: R = ray.get(reference)
            except RayTaskError as error:
                raise error.cause from error
            return found

        ahead = 2 * max(1, workers_that_fit({"CPU": 1}))
        yield from _in_order(lambda item: partial(result, task.remote(item)), items, ahead)

    return mapped


def _in_order(submit: Callable[[T], Callable[[], R]], items: Iterable[T], ahead: int) -> Iterator[R]:
    under_way: deque[Callable[[], R]] = deque()
    for item in items:
        under_way.append(submit(item))
        if len(under_way) > ahead:
            yield under_way.popleft()()
    while under_way:
        yield under_way.popleft()()
