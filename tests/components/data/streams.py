"""The stream of training batches as tests see it, and shards to damage."""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.data.image_files import decode_rgb
from components.data.loader import Batch, training_batches
from components.data.shard_reader import Shards
from tests.site import Site

BATCH, SEED = 4, 3


def on_site(site: Site, folder: Path) -> Shards:
    site.files |= {f"set/{path.name}": path.read_bytes() for path in folder.iterdir()}
    return Shards(site.address + "set")


def batches(shards: Shards, *, start: int = 0, workers: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
    return training_batches(
        shards, batch_size=BATCH, seed=SEED, start_step=start, workers=workers, rank=rank, ranks=ranks
    )


def run(shards: Shards, steps: int, *, start: int = 0, workers: int = 0, ranks: int = 1) -> tuple[Tensor, list[int]]:
    """(steps, B, 3, 64, 64): the stream of all ranks together, from step `start` on; and what each step skipped."""
    shares = [
        list(islice(batches(shards, start=start, workers=workers, rank=rank, ranks=ranks), steps))
        for rank in range(ranks)
    ]
    parts = [torch.stack([batch.patches for batch in share]) for share in shares]
    skipped = [sum(one.skipped for one in step) for step in zip(*shares, strict=True)]
    return torch.stack(parts, dim=2).flatten(1, 2), skipped


def stream(shards: Shards, steps: int, **way: int) -> Tensor:
    return run(shards, steps, **way)[0]


def digest(patches: Tensor) -> str:
    return hashlib.sha256(patches.contiguous().numpy().tobytes()).hexdigest()


def patches_of(shards: Shards, split: str) -> list[np.ndarray]:
    patches = shards.patches(split)
    with patches.reader() as reader:
        return [decode_rgb(reader.read(position)) for position in range(len(patches))]


def expected(good: list[np.ndarray], steps: int, stands_in: Callable[[int], int] = lambda position: position) -> Tensor:
    """What the stream is, by its definition: Philox permutations, PCG64 flips."""
    shown: list[np.ndarray] = []
    for epoch in range(-(-steps * BATCH // len(good))):
        for position in np.random.Generator(np.random.Philox(key=[SEED, epoch])).permutation(len(good)):
            rgb = good[stands_in(int(position))]
            turns = int(np.random.default_rng([SEED, epoch, int(position)]).integers(8))
            shown.append(np.rot90(np.fliplr(rgb) if turns >= 4 else rgb, turns % 4))
    every = np.stack(shown[: steps * BATCH]).transpose(0, 3, 1, 2)
    return torch.from_numpy(every.reshape(steps, BATCH, *every.shape[1:]))


def symmetries(rgb: np.ndarray) -> list[bytes]:
    return [np.rot90(one, k).tobytes() for one in (rgb, rgb[:, ::-1]) for k in range(4)]


def place_of(folder: Path, split: str, position: int) -> tuple[Path, int, int]:
    index = json.loads((folder / "index.json").read_text())
    places = [(s["file"], *place) for s in index["splits"][split]["shards"] for place in s["samples"]]
    file, offset, size = places[position]
    return folder / file, offset, size


def overwrite(folder: Path, split: str, position: int, new: bytes | None = None) -> None:
    """Put `new`, or a flipped bit in the middle, into a patch's bytes."""
    path, offset, size = place_of(folder, split, position)
    data = bytearray(path.read_bytes())
    if new is None:
        data[offset + size // 2] ^= 1
    else:
        data[offset : offset + len(new)] = new
    path.write_bytes(data)
