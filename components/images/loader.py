"""Batches of training patches, in an order that depends on (seed, epoch, sample) alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from components.errors import SourceError
from components.images.shards import read_index, read_patch

Sample = tuple[int, int]  # (epoch, position in the split)


class PatchDataset(Dataset[Tensor]):
    """The patches of one split as uint8 (3, patch, patch); with `flips`, turned by one of the eight symmetries
    of the square, drawn from (seed, epoch, sample)."""

    def __init__(self, folder: Path, split: str, *, seed: int, flips: bool):
        self.seed, self.flips = seed, flips
        shards = read_index(folder)["splits"][split]["shards"]
        self.places = [(folder / shard["file"], *place) for shard in shards for place in shard["samples"]]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, sample: Sample) -> Tensor:
        import cv2

        epoch, position = sample
        path, offset, size = self.places[position]
        bgr = cv2.imdecode(np.frombuffer(read_patch(path, offset, size), np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise SourceError(f"{path}: the patch at byte {offset} cannot be decoded")
        rgb = bgr[..., ::-1]
        if self.flips:
            turns = int(np.random.default_rng([self.seed, epoch, position]).integers(8))
            rgb = np.rot90(rgb[:, ::-1] if turns & 4 else rgb, turns & 3)
        return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)


class SampleOrder(Sampler[Sample]):
    """An endless walk through permutation after permutation of `count` samples, from place `start` on."""

    def __init__(self, count: int, seed: int, start: int = 0):
        self.count, self.seed, self.start = count, seed, start

    def __iter__(self) -> Iterator[Sample]:
        epoch, first = divmod(self.start, self.count)
        while True:
            order = np.random.Generator(np.random.Philox(key=[self.seed, epoch])).permutation(self.count)
            yield from ((epoch, int(position)) for position in order[first:])
            epoch, first = epoch + 1, 0


def training_batches(folder: Path, *, batch_size: int, seed: int, start_step: int, workers: int) -> Iterator[Tensor]:
    """Endless uint8 batches (batch_size, 3, patch, patch) for the steps from `start_step` on."""
    dataset = PatchDataset(folder, "train", seed=seed, flips=True)
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=SampleOrder(len(dataset), seed, start_step * batch_size),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


def validation_batches(folder: Path, *, batch_size: int, limit: int) -> list[Tensor]:
    """Up to `limit` patches of the validation split, evenly spread over it, as uint8 batches."""
    dataset = PatchDataset(folder, "val", seed=0, flips=False)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).astype(int))
    patches = [dataset[0, int(position)] for position in chosen]
    return [torch.stack(patches[at : at + batch_size]) for at in range(0, len(patches), batch_size)]
