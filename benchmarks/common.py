"""Shared by the benchmarks: patches, symbols and variants to work on, timing in pairs, the command line."""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.data.shard_spec import ShardSpec
from components.data.shard_writer import SourceImage, write_shards
from components.distributed.parallel_map import in_processes
from components.training.callback import Validation
from pipeline.config.params import Variant

console = Console(highlight=False, soft_wrap=True)


class Clock:
    """A training callback that records the time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Record the time."""
        self.ends.append(time.perf_counter())

    def rate(self, count: float) -> float:
        """Things per second if each step does `count`; the first step, a warm-up, is left out."""
        return count * (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])

    def on_validation(self, validation: Validation) -> None:
        """Do nothing."""


def middle(rgb: Rgb, side: int) -> Rgb:
    """The middle of a picture (H, W, 3), of at most `side` pixels a side."""
    top, left = (max(0, length - side) // 2 for length in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])


def command_line(description: str | None) -> argparse.ArgumentParser:
    """A parser without options yet, whose --help is the module's docstring."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def paired(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Measure two rates (things per second) in turn.

    A shared machine drifts. The ratio of two neighbouring measurements holds even if single figures do not.

    Args:
        ours: Measures our rate once.
        peer: Measures the peer's rate once.
        rounds: How many times to measure both.

    Returns:
        The medians of our rates, of the peer's, and of the ratios ours / peer.
    """
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return (
        statistics.median(mine for mine, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(mine / theirs for mine, theirs in pairs),
    )


def per_second(count: float, work: Callable[[], object]) -> float:
    """Things per second of one call of `work`, which does `count` things."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def bundled_shards(folder: Path, patches_per_image: int = 24) -> Path:
    """Write shards of the photographs bundled with scikit-image and scikit-learn; returns their folder."""
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
    """Symbols (channels, side, side) like those of latents: Gaussian channels with scales from 0.15 to 8."""
    random = np.random.default_rng(seed)
    scales = np.geomspace(0.15, 8, channels)[:, None, None]
    means = random.normal(0, 2, channels)[:, None, None]
    return np.round(random.normal(means, scales, (channels, side, side))).astype(np.int32)


def real_variant(name: str) -> Variant:
    """A variant of the profile `real`: its sizes and its training budget."""
    path = Path(__file__).parents[1] / "profiles" / "real.yaml"
    return Variant.model_validate(YAML(typ="safe").load(path)["variants"][name])
