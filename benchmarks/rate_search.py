"""Trainings, steps and seconds until a codec meets the target rate. The peer is bisection over λ.

Ours are the stages train and calibrate: λ is steered during training, then come secant steps and the gain's search. The
peer trains from scratch at a λ, measures real files of the calibration set and halves the interval in log λ, until the
rate is within the tolerance below the target. Both train the variant of params.yaml with the same number of steps on
the data of this checkout, which `dvc repro shard fetch` makes. Run: python -m benchmarks.rate_search factorized
"""

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from benchmarks.common import console
from components.codecs import checkpoint
from components.codecs.coder import LearnedCoder
from components.rate.real_rate import bpp_of
from components.storage.atomic import read_json
from pipeline.config import params
from pipeline.paths import CHECKOUT, Layout
from pipeline.stages import calibrate, train
from pipeline.stages._data_set import Pictures

REACH = 8.0  # bisection starts from λ / 8 to 8 λ
TRIES = 12


@dataclass
class Cost:
    """The cost of a search and the rate that it reached."""

    trainings: int
    steps: int
    seconds: float
    bpp: float


def main(
    variant: Annotated[str, typer.Argument(help="a variant of params.yaml")],
    steps: Annotated[int, typer.Option(help="steps of each training from scratch")] = 300,
) -> None:
    """Compare our search for the target rate with bisection over lambda: trainings, steps, seconds."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data").symlink_to(CHECKOUT / "data")
        ours, peer = steered(root, variant, steps), bisected(root, variant, steps)
    for label, found in (("steered and trimmed", ours), ("bisection over lambda", peer)):
        console.print(
            f"{variant}, {label}: {found.trainings} training(s), {found.steps} steps, {found.seconds:.0f} s, "
            f"{found.bpp:.4f} bpp"
        )
    console.print(
        f"ratio: {peer.steps / ours.steps:.1f} times the steps, {peer.seconds / ours.seconds:.1f} the seconds"
    )


def steered(root: Path, name: str, steps: int) -> Cost:
    """Run the stages train and calibrate."""
    _write_params(root, name, {"steps": steps})
    started = time.perf_counter()
    train.run(root, name)
    calibrate.run(root, name)
    found = read_json(Layout(root).calibration(name))
    return Cost(1, found["steps"], time.perf_counter() - started, found["bpp"])


def bisected(root: Path, name: str, steps: int) -> Cost:
    """Train from scratch for every λ of a bisection."""
    settings = params.load(root)
    target, tolerance = settings.target_bpp, settings.variant(name).calibrate.tolerance
    middle = settings.variant(name).train.lmbda
    originals = Pictures(Layout(root).raw(settings.data.calibration)).rgbs
    assert middle is not None
    below, above = middle / REACH, middle * REACH
    bpp, trainings = math.inf, 0
    started = time.perf_counter()
    while not (1 - tolerance) * target <= bpp <= target and trainings < TRIES:
        lmbda = math.sqrt(below * above)
        _write_params(root, name, {"steps": steps, "lmbda": lmbda, "steer": False})
        train.run(root, name)
        codec = checkpoint.load(Layout(root).trained(name))[0]
        assert codec.rate_parameter is not None
        bpp = bpp_of(LearnedCoder(codec), originals)
        trainings += 1
        console.print(f"bisection: lambda {lmbda:.5g}: {bpp:.4f} bpp")
        if (bpp > target) == codec.rate_parameter.raises_rate:
            above = lmbda
        else:
            below = lmbda
    return Cost(trainings, trainings * steps, time.perf_counter() - started, bpp)


def _write_params(root: Path, name: str, changes: dict[str, Any]) -> None:
    yaml = YAML()
    document = yaml.load(CHECKOUT / params.FILE)
    block = document["variants"][name]["train"]
    block.pop("minutes", None)
    block.update(changes)
    yaml.dump(document, root / params.FILE)


if __name__ == "__main__":
    typer.run(main)
