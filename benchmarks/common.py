"""What the benchmarks share: patches and variants to work on, and timing."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from ruamel.yaml import YAML

from components.data.shard_spec import ShardSpec
from components.data.shard_writer import SourceImage, write_shards
from components.distributed.parallel_map import in_processes
from components.training.config import Row
from pipeline.config.params import Variant

console = Console(highlight=False, soft_wrap=True)


class Clock:
    """An callback that notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """A step ended."""
        self.ends.append(time.perf_counter())

    def rate(self, count: float) -> float:
        """Things per second where each step does `count`, from the end of the first step to the end of the last."""
        return count * (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])

    def on_validation(self, row: Row) -> None:
        """Nothing."""


def paired(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of two rates (things per second) measured in turn, and the median of their ratios ours / peer.

    In turn, because a shared machine drifts: the ratio of neighbours holds when single figures do not.
    """
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return (
        statistics.median(mine for mine, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(mine / theirs for mine, theirs in pairs),
    )


def per_second(count: float, work: Callable[[], object]) -> float:
    """`count` things done by `work`, over the seconds it took."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def bundled_shards(folder: Path, patches_per_image: int = 24) -> Path:
    """Shards of scikit-image's and scikit-learn's photographs in `folder`."""
    import skimage
    import sklearn.datasets

    homes = (Path(skimage.__file__).parent / "data", Path(sklearn.datasets.__file__).parent / "images")
    names = (
        "astronaut.png",
        "coffee.png",
        "chelsea.png",
        "rocket.jpg",
        "motorcycle_left.png",
        "china.jpg",
        "flower.jpg",
    )
    found = sorted(home / name for home in homes for name in names if (home / name).exists())
    images = [SourceImage(path, f"{number:064x}") for number, path in enumerate(found)]
    spec = ShardSpec(
        patch=256,
        smallest_scale=0.7,
        largest_angle=30.0,
        rotated_share=0.3,
        patches_per_image=patches_per_image,
        train_share=0.7,
    )
    write_shards(images, spec, folder, seed=1, parallel_map=in_processes(2))
    return folder


def natural_symbols(channels: int, side: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Symbols (channels, side, side) such as a code has: Gaussian channels, their scales from 0.15 to 8."""
    random = np.random.default_rng(seed)
    scales = np.geomspace(0.15, 8, channels)[:, None, None]
    means = random.normal(0, 2, channels)[:, None, None]
    return np.round(random.normal(means, scales, (channels, side, side))).astype(np.int32)


def real_variant(name: str) -> Variant:
    """A variant of the profile `real`: its sizes, and how it is trained."""
    path = Path(__file__).parents[1] / "profiles" / "real.yaml"
    return Variant.model_validate(YAML(typ="safe").load(path)["variants"][name])
