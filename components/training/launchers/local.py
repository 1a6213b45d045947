"""A training on this machine: one process, or several that share its GPUs or cores."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

import torch

from components.errors import RatewrightError, one_line
from components.storage.locations import remove
from components.training.config import TrainingCallback
from components.training.interrupt import die_with_parent
from components.training.job import NoCallback, TrainingJob
from components.training.launchers.gpu_locks import take, visible
from components.training.state import TrainingState

_GRACE_S = 10.0  # for the other ranks to end after rank 0


class LocalLauncher:
    """Runs trainings on `workers` processes, of which this one is the first; each on a GPU of its own if there are any.

    None: as many as there are GPUs, or rather the most of them that batches can be parted among evenly; one without
    GPUs. It waits for GPUs that other processes of this machine train on, and has its own to itself until it ends.
    """

    def __init__(self, workers: int | None = None):
        self._workers = workers

    def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
        """Train `job` to its end. Raises RatewrightError for more workers than GPUs, and where a worker is lost."""
        gpus = torch.cuda.device_count()
        ranks = self._workers or max(n for n in range(1, max(1, gpus) + 1) if job.config.batch_size % n == 0)
        if 0 < gpus < ranks:
            raise RatewrightError(f"{job.name}: {ranks} workers were asked for, and this machine has {gpus} GPUs")
        job.refuse_uneven(ranks)
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(take(ranks, visible(gpus)))
        return job.train(callback) if ranks == 1 else _with_others(job, callback, ranks)

    def forget(self, job: TrainingJob) -> None:
        """Remove its state."""
        remove(job.state)


def _with_others(job: TrainingJob, callback: TrainingCallback, ranks: int) -> TrainingState:
    threads = torch.get_num_threads()
    share = max(1, threads // ranks)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(ranks)}
    context = get_context("spawn")
    others = [
        context.Process(target=_rank, args=(job, {**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)}, share))
        for rank in range(1, ranks)
    ]
    for process in others:
        process.start()
    try:
        torch.set_num_threads(share)
        with _environment({**meeting, "RANK": "0", "LOCAL_RANK": "0"}):
            return job.train(callback)
    except RuntimeError as error:  # of torch.distributed, for one
        raise RatewrightError(f"{job.name}: {_lost(others) or one_line(error)}") from error
    finally:
        torch.set_num_threads(threads)
        _end(others)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _rank(job: TrainingJob, environment: dict[str, str], threads: int) -> None:
    """What every process but the first does."""
    die_with_parent()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    try:
        job.train(NoCallback())
    except RatewrightError as error:  # as rank 0 has it too, unless it is this rank's own
        raise SystemExit(one_line(error)) from None


def _lost(others: Sequence[BaseProcess]) -> str | None:
    """What became of a worker that ended before its time."""
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
    deadline = time.monotonic() + _GRACE_S
    for process in others:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _free_port() -> int:
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
