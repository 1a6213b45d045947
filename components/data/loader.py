"""Batches of training patches: one stream of samples that depends on (seed, epoch, sample) alone.

Step s takes the samples from s * batch_size on. The ranks of a training share each batch out in turn, and loader
workers the steps, so that the stream is the same for any number of either. A damaged patch is replaced by the next good
one of its split.
"""

import signal
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..arrays import Rgb
from ..errors import RatewrightError, SourceError
from .shard_reader import Patches, PatchReader, Sample, Shards

_GRACE_S = 60  # that a worker lives on after a signal to stop, if the process that reads from it does not end it


class Batch(NamedTuple):
    """Patches of one step, or of a rank's part of it."""

    patches: Tensor
    """uint8 (B, 3, side, side), channels last in memory."""
    skipped: int
    """Damaged patches that others stand in for."""


def training_batches(
    shards: Shards,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    workers: int,
    rank: int = 0,
    ranks: int = 1,
    split: str = "train",
) -> Iterator[Batch]:
    """Endless batches of augmented patches of a split.

    Args:
        shards: the patches.
        batch_size: patches of one step, over all ranks.
        seed: of the order and of the augmentation.
        start_step: the step of the first batch.
        workers: loader processes; 0 reads in this process.
        rank: number of this process among those that train together.
        ranks: count of the processes that train together.
        split: "train" or "large".

    Raises:
        RatewrightError: where the ranks cannot share a batch evenly.
        SourceError: at once or from the iterator, for shards that are missing, cannot be reached, or hold no good
            patch.
    """
    if batch_size % ranks:
        raise RatewrightError(f"batch_size {batch_size} is not a multiple of the {ranks} processes that share it")
    stream = _Stream(shards.patches(split), batch_size, seed, start_step, rank, ranks)
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
    """Patches of the validation split, upright: those of `validation_positions`, as uint8 (B, 3, side, side)."""
    patches = shards.patches("val")
    samples = [Sample(0, position) for position in validation_positions(len(patches), limit)]
    steps = (samples[at : at + batch_size] for at in range(0, len(samples), batch_size))
    return [batch.patches for batch in _batches(patches, steps, None)]


def validation_positions(count: int, limit: int) -> list[int]:
    """Positions of up to `limit` patches, evenly spread over a split of `count`."""
    positions: list[int] = np.unique(np.linspace(0, count - 1, min(limit, count)).astype(int)).tolist()
    return positions


def sample_order(count: int, seed: int, start: int = 0) -> Iterator[Sample]:
    """An endless walk through permutation after permutation of `count` samples, from its sample `start` on."""
    epoch, first = divmod(start, count)
    while True:
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)
        yield from (Sample(epoch, int(position)) for position in order[first:])
        epoch, first = epoch + 1, 0


def augmented(rgb: Rgb, seed: int, epoch: int, position: int) -> Rgb:
    """(side, side, 3) mapped by one of the eight symmetries of the square, drawn from (seed, epoch, position)."""
    import cv2

    symmetry = int(np.random.default_rng([seed, epoch, position]).integers(8))
    if symmetry & 4:
        rgb = cv2.flip(rgb, 1)
    if quarters := symmetry & 3:
        codes = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
        rgb = cv2.rotate(rgb, codes[quarters - 1])  # ten times as fast as a copy of NumPy's view
    return rgb


class _Stream(IterableDataset["Batch | RatewrightError"]):
    """The batches of one rank; in a loader worker, every batch whose turn it is."""

    def __init__(self, patches: Patches, batch_size: int, seed: int, start_step: int, rank: int, ranks: int):
        self.patches, self.batch_size, self.seed, self.start_step = patches, batch_size, seed, start_step
        self.rank, self.ranks = rank, ranks

    def __iter__(self) -> Iterator[Batch | RatewrightError]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        try:
            yield from _batches(self.patches, islice(self._steps(), first, None, stride), self.seed)
        except RatewrightError as error:
            # As a value: an exception raised in a worker arrives as the text of its traceback.
            yield error

    def _steps(self) -> Iterator[list[Sample]]:
        order = sample_order(len(self.patches), self.seed, self.start_step * self.batch_size)
        while True:
            yield list(islice(order, self.batch_size))[self.rank :: self.ranks]


def _outlive_a_stop(_: int) -> None:
    """Terminals and schedulers signal a whole process group; a worker must live on until the step is finished."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signal.alarm(_GRACE_S))


def _raised(item: Batch | RatewrightError) -> Batch:
    if isinstance(item, RatewrightError):
        raise item
    return item


def _batches(patches: Patches, steps: Iterable[Sequence[Sample]], seed: int | None) -> Iterator[Batch]:
    """A batch for the samples of each step; without a seed, patches are not augmented."""
    with patches.reader() as reader:
        for samples, files in reader.read_batches(steps):
            # (B, side, side, 3) in memory is channels last, as convolutions take it fastest.
            batch = np.empty((len(samples), patches.side, patches.side, 3), np.uint8)
            skipped = 0
            for place, sample, data in zip(batch, samples, files, strict=True):
                rgb = _decoded(data, patches.side)
                if rgb is None:
                    rgb, skipped = _next_good(patches, sample.position, reader), skipped + 1
                place[:] = rgb if seed is None else augmented(rgb, seed, *sample)
            yield Batch(torch.from_numpy(batch).permute(0, 3, 1, 2), skipped)


def _next_good(patches: Patches, position: int, reader: PatchReader) -> Rgb:
    """The first patch after `position`, in a circle, that can be decoded. Raises SourceError where there is none."""
    for step in range(1, len(patches)):
        rgb = _decoded(reader.read((position + step) % len(patches)), patches.side)
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
