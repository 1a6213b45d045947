"""A function applied to many items in parallel: by processes of this machine, or by tasks on a Ray cluster."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

from ..errors import RatewrightError
from .ray_cluster import connect, contents, workers_that_fit

T = TypeVar("T")
R = TypeVar("R")


class ParallelMap(Protocol):
    """Applies a function to items as the built-in `map` does, which is one: lazily, results in the items' order."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Function and items must be picklable; an exception of the function is raised here."""


def in_processes(workers: int) -> ParallelMap:
    """A parallel map over `workers` processes of this machine."""

    def parallel_map(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        context = get_context("forkserver")  # forking a process that holds threads can deadlock
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from _in_order(lambda item: pool.submit(function, item).result, items, 2 * workers)

    return parallel_map


def on_cluster(address: str | None, wait_s: float) -> ParallelMap:
    """A parallel map over the cores of a Ray cluster, one task an item.

    Args:
        address: the cluster, as `components.distributed.ray_cluster.connect` takes it.
        wait_s: seconds that a cluster without a core may take to get one, for an autoscaler.

    Raises:
        RatewrightError: from the iterator, where the cluster cannot be reached or has no core.
    """

    def parallel_map(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        connect(address)
        import ray

        def work(item: T) -> R:
            return function(item)

        task: Any = ray.remote(num_cpus=1)(work)  # Ray takes no partial, as `function` may be
        ahead = 2 * max(1, workers_that_fit({"CPU": 1}))
        yield from _in_order(lambda item: partial(_result, task.remote(item), wait_s), items, ahead)

    return parallel_map


def _result(reference: Any, wait_s: float) -> Any:
    """The result of a Ray task. Raises its exception, or RatewrightError where no node has a core after `wait_s`."""
    import ray
    from ray.exceptions import RayTaskError

    deadline = time.monotonic() + wait_s
    while not ray.wait([reference], timeout=1.0)[0]:
        if time.monotonic() > deadline and not workers_that_fit({"CPU": 1}):
            raise RatewrightError(f"no core to work on: the Ray cluster has {contents()}")
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error


def _in_order(submit: Callable[[T], Callable[[], R]], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Results in the items' order, with up to `ahead` more items submitted. `submit` returns a blocking getter."""
    pending: deque[Callable[[], R]] = deque()
    for item in items:
        pending.append(submit(item))
        if len(pending) > ahead:
            yield pending.popleft()()
    while pending:
        yield pending.popleft()()
