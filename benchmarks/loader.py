"""Patches per second of the loader. The peers are a plain WebDataset pipeline, and PIL on a folder of PNGs.

All read the same patches with one worker process, flip them and put 8 in a batch. The last figure is how many patches
a training step of `wcae` uses in the same time: the loader must be faster. Run: python -m benchmarks.loader
"""

import tarfile
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import webdataset
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import bundled_shards, command_line, console, paired, per_second
from components.codecs.table import codec_class
from components.data.loader import augmented, training_batches
from components.data.shard_reader import Shards
from components.training.forward import to_channels_last

PATCHES, BATCH, ROUNDS = 320, 8, 3


class FolderOfPatches(Dataset[Tensor]):
    """The obvious data set: PIL, a random flip, a tensor."""

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return PATCHES + 10 * BATCH

    def __getitem__(self, index: int) -> Tensor:
        rgb = np.asarray(Image.open(self.files[index % len(self.files)]).convert("RGB"))
        if np.random.default_rng(index).random() < 0.5:
            rgb = rgb[:, ::-1]
        return torch.from_numpy(rgb.copy()).permute(2, 0, 1).float() / 255


def flipped(rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """A patch in one of the eight symmetries, as our loader gives it."""
    position = int(np.random.default_rng().integers(1 << 30))
    return torch.from_numpy(augmented(rgb, 0, 0, position).copy()).permute(2, 0, 1)


def plain_webdataset(shards: Path) -> Iterable[Tensor]:
    """The pipeline of WebDataset's documentation: endless shards, a shuffle buffer, its decoder, flips."""
    files = sorted(map(str, shards.glob("train-*.tar")))
    pipeline = webdataset.WebDataset(files, shardshuffle=False, resampled=True, empty_check=False)
    patches = pipeline.shuffle(1000).decode("rgb8").to_tuple("png").map_tuple(flipped).batched(BATCH)
    return (batch for (batch,) in webdataset.WebLoader(patches, batch_size=None, num_workers=1))


def consume(batches: Iterable[object]) -> float:
    """Patches per second after the workers have started."""
    iterator = iter(batches)
    list(islice(iterator, 8))
    return per_second(PATCHES, lambda: list(islice(iterator, PATCHES // BATCH)))


def main() -> None:
    """Print the medians and the ratio."""
    command_line(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        shards = bundled_shards(Path(name) / "shards", 4)
        folder = Path(name) / "folder"
        for shard in shards.glob("train-*.tar"):
            with tarfile.open(shard) as tar:
                tar.extractall(folder, filter="data")

        def ours() -> float:
            return consume(training_batches(Shards(str(shards)), batch_size=BATCH, seed=0, start_step=0, workers=1))

        mine, theirs, ratio = paired(ours, lambda: consume(plain_webdataset(shards)), ROUNDS)
        _, pil, pil_ratio = paired(
            ours, lambda: consume(DataLoader(FolderOfPatches(folder), BATCH, shuffle=True, num_workers=1)), ROUNDS
        )
    codec = codec_class("wcae")().train()
    to_channels_last(codec)
    x = torch.rand(BATCH, 3, 256, 256).to(memory_format=torch.channels_last)

    def step() -> None:
        codec.loss(x, codec(x), 0.01).total.backward()  # type: ignore[no-untyped-call]

    step()
    wanted = max(per_second(BATCH, step) for _ in range(3))
    console.print(f"loader, one worker, batch {BATCH} of 256x256")
    console.print(f"  ours {mine:.0f} patches/s, plain WebDataset {theirs:.0f} patches/s, ratio {ratio:.2f}")
    console.print(f"  PIL from a folder {pil:.0f} patches/s, ratio {pil_ratio:.2f}")
    console.print(
        f"  a training step of wcae takes {wanted:.0f} patches/s: the loader gives {mine / wanted:.1f} times that"
    )


if __name__ == "__main__":
    main()
