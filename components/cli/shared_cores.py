"""Sharing of the cores between threads that each run a codec in torch."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """A context in which `workers` new threads have a share of torch's threads each, and BLAS has one thread.

    Without it each worker runs as many threads as there are cores, and all wait for each other. A codec that limits
    BLAS itself restores the limit that it found, which is another worker's in the midst of its work.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)
