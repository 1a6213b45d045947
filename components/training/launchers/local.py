"""Trainings on this machine, in one process or in several that share its GPUs or cores."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

import torch

from ...errors import RatewrightError, one_line
from ...storage.locations import remove
from ..callback import NoOpCallback, TrainingCallback
from ..interrupt import die_with_parent
from ..job import TrainingJob
from ..state import TrainingState
from .gpu_locks import acquire_gpus, visible_gpus

_GRACE_S = 10.0  # for the other ranks to end after rank 0


class LocalLauncher:
    """Runs trainings in several processes, of which this one is rank 0.

    On a machine with GPUs, every process has a GPU of its own. The launcher waits for GPUs that other processes of
    this machine train on, and locks its own until this process ends.
    """

    def __init__(self, workers: int | None = None):
        """Set the number of processes.

        workers: None takes the largest number up to that of the GPUs that divides the batches evenly; one without GPUs.
        """
        self._workers = workers

    def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
        """Train `job` to its end.

        Args:
            job: the training.
            callback: receives the progress.

        Returns:
            The final state.

        Raises:
            Interrupted: on SIGINT or SIGTERM.
            RatewrightError: for more workers than GPUs, if a worker is lost, and where the training fails.
        """
        gpus = torch.cuda.device_count()
        ranks = self._workers or max(n for n in range(1, max(1, gpus) + 1) if job.config.batch_size % n == 0)
        if 0 < gpus < ranks:
            raise RatewrightError(f"{job.name}: {ranks} workers were asked for, and this machine has {gpus} GPUs")
        job.check_divisible(ranks)
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(acquire_gpus(ranks, visible_gpus(gpus)))
        return job.train(callback) if ranks == 1 else _train_ranks(job, callback, ranks)

    def remove_state(self, job: TrainingJob) -> None:
        """Remove the training's state."""
        remove(job.state)


def _train_ranks(job: TrainingJob, callback: TrainingCallback, ranks: int) -> TrainingState:
    """Train as rank 0, with the other ranks in processes of their own."""
    threads = torch.get_num_threads()
    share = max(1, threads // ranks)
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    context = get_context("spawn")
    others = [
        context.Process(target=_rank, args=(job, {**rendezvous, "RANK": str(rank), "LOCAL_RANK": str(rank)}, share))
        for rank in range(1, ranks)
    ]
    for process in others:
        process.start()
    try:
        torch.set_num_threads(share)
        with _environment({**rendezvous, "RANK": "0", "LOCAL_RANK": "0"}):
            return job.train(callback)
    except RuntimeError as error:  # torch.distributed raises it where a rank is missing
        raise RatewrightError(f"{job.name}: {_describe_loss(others) or one_line(error)}") from error
    finally:
        torch.set_num_threads(threads)
        _end(others)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _rank(job: TrainingJob, environment: dict[str, str], threads: int) -> None:
    """Train as another rank than 0, in a process of its own."""
    die_with_parent()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    try:
        job.train(NoOpCallback())
    except RatewrightError as error:  # rank 0 raises it as well, unless this rank alone failed
        raise SystemExit(one_line(error)) from None


def _describe_loss(others: Sequence[BaseProcess]) -> str | None:
    """Describe how a worker was lost; None if all of them still run."""
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline:
        for rank, process in enumerate(others, start=1):
            if process.exitcode:
                how = f"was killed by signal {-process.exitcode}" if process.exitcode < 0 else "failed"
                hint = " (no memory left?)" if process.exitcode == -9 else ""
                return f"worker {rank} {how}{hint}; run the same command to go on from the last saved state"
        time.sleep(0.1)
    return None


def _end(others: Sequence[BaseProcess]) -> None:
    """Wait for the other ranks to end, and kill those that do not."""
    deadline = time.monotonic() + _GRACE_S
    for process in others:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def free_port() -> int:
    """Find a TCP port of this machine that no process uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
