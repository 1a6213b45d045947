"""Batches of training patches: one stream of samples that depends on (seed, epoch, sample) alone.

Step s takes the samples from s * batch_size on. Ranks share each batch out in turn, and loader workers the steps, so
that the stream is the same for any number of either. Where a patch is damaged, the next good one of the split
stands in.
"""

import signal
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice, tee
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from components.arrays import Rgb
from components.data.shard_reader import Patches, Read, Shards
from components.errors import RatewrightError, SourceError

_GRACE_S = 60  # that a worker lives on after a signal to stop, if its reader does not end it
Sample = tuple[int, int]  # (epoch, position in the split)


class Batch(NamedTuple):
    """Patches as uint8 (B, 3, side, side), and how many of them stand in for damaged ones."""

    patches: Tensor
    skipped: int


def training_batches(
    shards: Shards, *, batch_size: int, seed: int, start_step: int, workers: int, rank: int = 0, ranks: int = 1
) -> Iterator[Batch]:
    """Endless batches of batch_size // ranks patches for the steps from `start_step` on, as rank `rank` sees them.

    Raises RatewrightError where the ranks cannot share a batch evenly, and SourceError, at once or from the iterator,
    for shards that are missing, cannot be reached, or hold no good patch.
    """
    if batch_size % ranks:
        raise RatewrightError(f"batch_size {batch_size} is not a multiple of the {ranks} processes that share it")
    stream = _Stream(shards.patches("train"), batch_size, seed, start_step, rank, ranks)
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_outlive_a_stop,
        pin_memory=torch.cuda.is_available(),
    )
    return map(_raised, iter(loader))


def validation_batches(shards: Shards, *, batch_size: int, limit: int) -> list[Tensor]:
    """Up to `limit` patches of the validation split, evenly spread over it, as uint8 batches."""
    patches = shards.patches("val")
    chosen = np.unique(np.linspace(0, len(patches) - 1, min(limit, len(patches))).astype(int)).tolist()
    samples = ([(0, position) for position in chosen[at : at + batch_size]] for at in range(0, len(chosen), batch_size))
    return [batch.patches for batch in _batches(patches, samples, None)]


def sample_order(count: int, seed: int, start: int = 0) -> Iterator[Sample]:
    """An endless walk through permutation after permutation of `count` samples, from place `start` on."""
    epoch, first = divmod(start, count)
    while True:
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)
        yield from ((epoch, int(position)) for position in order[first:])
        epoch, first = epoch + 1, 0


def augmented(rgb: Rgb, seed: int, epoch: int, position: int) -> Rgb:
    """(side, side, 3) augmented by one of the eight symmetries of the square, drawn from (seed, epoch, position)."""
    import cv2

    turns = int(np.random.default_rng([seed, epoch, position]).integers(8))
    if turns & 4:
        rgb = cv2.flip(rgb, 1)
    if quarters := turns & 3:
        codes = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
        rgb = cv2.rotate(rgb, codes[quarters - 1])  # ten times as fast as a copy of NumPy's view
    return rgb


class _Stream(IterableDataset["Batch | RatewrightError"]):
    """The part of the stream that a rank takes; in a loader worker, the part of that that the worker takes."""

    def __init__(self, patches: Patches, batch_size: int, seed: int, start_step: int, rank: int, ranks: int):
        self.patches, self.batch_size, self.seed, self.start_step = patches, batch_size, seed, start_step
        self.rank, self.ranks = rank, ranks

    def __iter__(self) -> Iterator[Batch | RatewrightError]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        try:
            yield from _batches(self.patches, islice(self._steps(), first, None, stride), self.seed)
        except RatewrightError as error:
            # As a value: what a worker raises comes out as the text of its traceback.
            yield error

    def _steps(self) -> Iterator[list[Sample]]:
        walk = sample_order(len(self.patches), self.seed, self.start_step * self.batch_size)
        while True:
            yield list(islice(walk, self.batch_size))[self.rank :: self.ranks]


def _outlive_a_stop(_: int) -> None:
    """Terminals and schedulers stop a whole process group; the workers' reader still has a step to finish."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signal.alarm(_GRACE_S))


def _raised(item: Batch | RatewrightError) -> Batch:
    if isinstance(item, RatewrightError):
        raise item
    return item


def _batches(patches: Patches, steps: Iterable[list[Sample]], seed: int | None) -> Iterator[Batch]:
    """A batch for the samples of each step, upright where there is no seed."""
    steps, again = tee(steps)
    positions = ([position for _, position in step] for step in again)
    with patches.opened() as read, closing(patches.ahead(positions, read)) as ahead:
        for step, bodies in zip(steps, ahead, strict=True):
            # (B, side, side, 3) in memory is channels last, which the loop wants.
            batch = np.empty((len(step), patches.side, patches.side, 3), np.uint8)
            skipped = 0
            for place, (epoch, position), body in zip(batch, step, bodies, strict=True):
                rgb = _decoded(body(), patches.side)
                if rgb is None:
                    rgb, skipped = _next_good(patches, position, read), skipped + 1
                place[:] = rgb if seed is None else augmented(rgb, seed, epoch, position)
            yield Batch(torch.from_numpy(batch).permute(0, 3, 1, 2), skipped)


def _next_good(patches: Patches, position: int, read: Read) -> Rgb:
    """The first patch after `position`, in a circle, that can be decoded."""
    for step in range(1, len(patches)):
        rgb = _decoded(read((position + step) % len(patches)), patches.side)
        if rgb is not None:
            return rgb
    raise SourceError(f"{patches.shards.location}: no patch of the {patches.split} split can be decoded")


def _decoded(data: bytes, side: int) -> Rgb | None:
    """(side, side, 3), or None for a damaged patch: OpenCV checks the CRC of every chunk that pixels come from."""
    import cv2

    try:
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # no bytes at all, or a size that is out of bounds
        return None
    return None if rgb is None or rgb.shape != (side, side, 3) else rgb
