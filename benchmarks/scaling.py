"""Training with several workers, and the cost of an interruption, for `factorized` of profiles/real.yaml.

- Images per second with two workers, each with half the threads. The peer is one worker with all threads.
- A saved state: its size, its milliseconds, and their share of the time if one is saved every minute.
- A training killed with -9 some seconds after its last saved state: the lost steps, which `save_every_s` bounds, and
  the seconds from the start of a process to its first step on resumption. The peer is a new training.

Run: python -m benchmarks.scaling
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch

from benchmarks.common import Clock, bundled_shards, command_line, console, paired, real_variant
from components.data.shard_reader import Shards
from components.training.callback import Validation
from components.training.job import TrainingJob
from components.training.launchers.local import LocalLauncher
from components.training.state import TrainingState

STEPS, ROUNDS = 6, 2
SAVE_EVERY_S, KILLED_AFTER_S = 2.5, 4.0  # of the training that is killed


def job(folder: Path, steps: int, save_every_s: float = math.inf) -> TrainingJob:
    """A training with its shards and its state in `folder`."""
    variant = real_variant("factorized")
    changes = {
        "steps": steps,
        "minutes": None,
        "precision": "32-true",
        "validate_every": 1_000_000,
        "validation_patches": 1,
    }
    config = variant.train.model_copy(update=changes)
    return TrainingJob(
        "factorized",
        "",
        variant.codec,
        variant.hyperparameters,
        config,
        Shards(str(folder / "shards")),
        str(folder / "state"),
        save_every_s=save_every_s,
    )


def images_per_s(folder: Path, workers: int) -> float:
    """Images per second of a short training, without its first step."""
    short, clock = job(folder, STEPS + 1), Clock()
    Path(short.state).unlink(missing_ok=True)
    LocalLauncher(workers).train(short, clock)
    return clock.rate(short.config.batch_size)


@contextmanager
def timed_saves() -> Iterator[list[float]]:
    """Collect the seconds of every saved state of a training that runs in this context."""
    seconds: list[float] = []
    save = TrainingState.save

    def timed(state: TrainingState, location: str | Path) -> None:
        started = time.perf_counter()
        save(state, location)
        seconds.append(time.perf_counter() - started)

    with patch.object(TrainingState, "save", timed):
        yield seconds


@dataclass
class KilledTraining:
    """A killed training: seconds to its first step, and the time (s) at the end of each step."""

    first_step_s: float
    ends: dict[int, float]


def trained_and_killed(folder: Path, after_s: float) -> KilledTraining:
    """Train in another process, and kill that `after_s` seconds after its first step."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.scaling", "--train-in", str(folder)]
    ends: dict[int, float] = {}
    # Its orphaned loader process reports its end on standard error.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            ends[int(line)] = time.monotonic()
            if ends[int(line)] - min(ends.values()) >= after_s:
                break
        process.kill()
    if not ends:
        raise SystemExit("benchmarks.scaling: a training ended before its first step")
    return KilledTraining(min(ends.values()) - started, ends)


class StepPrinter:
    """A training callback that prints the number of each step."""

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Print the step."""
        print(step, flush=True)

    def on_validation(self, validation: Validation) -> None:
        """Do nothing."""


def kill_and_resume(folder: Path) -> dict[str, float]:
    """Seconds to the first step of a new and of a resumed process; steps and seconds lost by the kill."""
    state = folder / "state"
    state.unlink(missing_ok=True)
    fresh = trained_and_killed(folder, KILLED_AFTER_S)
    saved, last = TrainingState.load(state, "").step, max(fresh.ends)
    resumed = trained_and_killed(folder, 0.0)
    if min(resumed.ends) != saved + 1:
        raise SystemExit(f"benchmarks.scaling: saved at step {saved}, but resumed with step {min(resumed.ends)}")
    lost_s = fresh.ends[last] - fresh.ends[max(saved, 1)]
    return {"fresh_s": fresh.first_step_s, "resumed_s": resumed.first_step_s, "steps": last - saved, "lost_s": lost_s}


def main() -> None:
    """Print the figures."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundled_shards(folder / "shards", 2)
        threads = torch.get_num_threads()
        two, one, ratio = paired(lambda: images_per_s(folder, 2), lambda: images_per_s(folder, 1), ROUNDS)
        saving = job(folder, STEPS + 1, save_every_s=0.0)
        Path(saving.state).unlink()
        with timed_saves() as seconds:
            saving.train(Clock())
        size, saved_s = Path(saving.state).stat().st_size / 1e6, median(seconds)
        figures = kill_and_resume(folder)
    console.print(f"factorized, batch {saving.config.batch_size} of 256x256, {threads} threads")
    console.print(f"  two workers {two:.2f} images/s, one {one:.2f}, ratio {ratio:.2f}")
    console.print(
        f"  a saved state: {size:.1f} MB, {1000 * saved_s:.0f} ms, {saved_s / 60:.3%} of the time at one a minute"
    )
    console.print(
        f"  process start to first step: resumed {figures['resumed_s']:.1f} s, fresh {figures['fresh_s']:.1f} s,"
        f" ratio {figures['resumed_s'] / figures['fresh_s']:.2f}"
    )
    console.print(
        f"  lost to kill -9 with a state every {SAVE_EVERY_S:g} s:"
        f" {figures['steps']:g} steps, {figures['lost_s']:.1f} s of work"
    )


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("--train-in", type=Path, help="only train, endlessly: for the process that is killed")
    if folder := parser.parse_args().train_in:
        job(folder, 1_000_000, SAVE_EVERY_S).train(StepPrinter())
    else:
        main()
