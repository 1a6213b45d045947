"""What tests of several folders share: small photographs, shards cut from them, codecs nobody trained."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from components.codecs.base import Codec

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

Rgb = NDArray[np.uint8]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, as bit-for-bit comparisons and shared machines want it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photograph() -> Rgb:
    """(160, 192, 3): a face, hair, a plain background."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[20:180, 130:322])


@pytest.fixture(scope="session")
def photographs() -> list[Rgb]:
    """Eight different pictures of about 128x150."""
    from skimage import data

    whole = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    corners = ((30, 100), (150, 240))
    return [
        np.ascontiguousarray(rgb[y : y + 128 + 3 * k, x : x + 150 - k])
        for k, rgb in enumerate(whole)
        for y, x in corners
    ]


@pytest.fixture(scope="session")
def picture_files(photographs: list[Rgb], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """`photographs` as PNG files."""
    from components.images.decode import encode_png

    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"p{k}.png" for k in range(len(photographs))]
    for path, rgb in zip(paths, photographs, strict=True):
        path.write_bytes(encode_png(rgb))
    return paths


@pytest.fixture(scope="session")
def tiny_shards(picture_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards with 64x64 patches: five of each of eight pictures, seven to a tar."""
    import hashlib

    from components.images.augment import Augmentation
    from components.images.shards import ShardSpec, SourceImage, write_shards

    sources = [SourceImage(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in picture_files]
    spec = ShardSpec(Augmentation(64, 0.6, 45.0, 0.3), 5, 0.7, seed=1, samples_per_shard=7)
    out = tmp_path_factory.mktemp("shards")
    write_shards(sources, spec, out, workers=1)
    return out


@pytest.fixture(scope="session")
def make_codec() -> "Callable[..., Codec]":
    """A function (name, seed) that builds an untrained codec in evaluation mode."""

    def make(name: str = "wcae", seed: int = 0) -> "Codec":
        import torch

        from components.codecs.table import codec_class

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return codec_class(name)().eval()

    return make
