"""The speed of a training, on a clock that the test moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from components.data.loader import Batch
from components.data.shard_reader import Shards
from components.training import speed as module
from components.training.callback import NoOpCallback, Validation
from components.training.job import TrainingJob
from components.training.speed import Speed, SpeedMeter
from tests.components.training.trainer import SHORT, Watch, changed
from tests.conftest import small_hyperparameters

VALIDATION = Validation(
    step=1,
    lmbda=None,
    lr=0.1,
    train_loss=None,
    val_loss=None,
    val_psnr_db=None,
    val_bpp_estimated=None,
    skipped=0,
    diverged=False,
    calibration_bpp=None,
)


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


def slow_batches(clock: Clock, seconds: float) -> Iterator[Batch]:
    while True:
        clock.now += seconds
        yield Batch(torch.zeros(4, 3, 32, 16, dtype=torch.uint8), 0)


def test_shares_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reports = Clock(), list[Speed]()
    monkeypatch.setattr(module, "time", clock)
    meter = SpeedMeter(NoOpCallback(), reports.append, every_s=20.0)
    batches = meter.timed(slow_batches(clock, 1.0))

    def step(seconds: float) -> None:
        next(batches)
        clock.now += seconds
        meter.on_step(0.0, 1, 0.0)

    step(500.0)  # the first one builds kernels
    step(3.0)
    step(3.0)
    clock.now += 4.0
    meter.on_validation(VALIDATION)
    assert reports == []
    step(7.0)
    assert reports == [Speed(images_per_s=12 / 16, px_per_s=12 * 512 / 16, waiting=3 / 16, validating=4 / 20)]
    step(19.0)
    assert reports[1:] == [Speed(images_per_s=4 / 20, px_per_s=4 * 512 / 20, waiting=1 / 20, validating=0.0)]


@pytest.mark.usefixtures("one_thread")
def test_a_training_goes_the_same_way_with_a_meter(tiny_shards: Path, tmp_path: Path) -> None:
    config = changed(SHORT, steps=5, validate_every=5)
    shards = Shards(str(tiny_shards))
    hyperparameters = small_hyperparameters("haar_hyper")
    job = TrainingJob("a", "a", "haar_hyper", hyperparameters, config, shards, str(tmp_path / "a"))
    other = TrainingJob("b", "b", "haar_hyper", hyperparameters, config, shards, str(tmp_path / "b"))
    watch, reports = Watch(), list[Speed]()
    meter = SpeedMeter(watch, reports.append, every_s=0.0)
    metered, plain = job.train(meter, wrap_batches=meter.timed), other.train(NoOpCallback())
    assert metered.history == plain.history
    assert watch.steps == [1, 2, 3, 4, 5]
    assert watch.rows == metered.history
    assert len(reports) == 4
    assert all(speed.images_per_s > 0 and 0 <= speed.waiting < 1 for speed in reports)
