"""Learning-rate schedules and budgets."""

import math
import time

import pytest
from torch import Tensor

from components.codecs.base import Codec
from components.codecs.tensors import Loss, Reconstruction
from components.training import run
from components.training.interrupt import Interrupted
from tests.components.training.trainer import SHORT, Trainer, Watch, assert_same, changed, interrupt

pytestmark = pytest.mark.usefixtures("one_thread")


def test_schedules(trainer: Trainer) -> None:
    rates = {}
    for schedule in ("constant", "cosine"):
        config = changed(SHORT, schedule=schedule, validate_every=2, validation_patches=1, steps=6)
        rates[schedule] = [row.lr for row in trainer(config, fingerprint=schedule)[1].history]
    assert rates["constant"] == [1e-3] * 3
    expected = [1e-3 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 6)) / 2) for step in (1, 3, 5)]
    assert rates["cosine"] == pytest.approx(expected)


@pytest.fixture
def without_gain(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A trainer whose validations all have the loss 1."""

    def prepare(codec: Codec) -> None:
        objective = codec.objective
        monkeypatch.setattr(
            codec, "objective", lambda d, r, lmbda: 1.0 if isinstance(d, float) else objective(d, r, lmbda)
        )

    trainer.prepare = prepare
    return trainer


# After two validations without gain the learning rate is a tenth.
PLATEAU = changed(SHORT, schedule="plateau", patience=1, validate_every=1, validation_patches=1, steps=7)


def test_the_plateau_schedule_survives_a_stop(without_gain: Trainer) -> None:
    straight = without_gain(PLATEAU)
    rates = [row.lr for row in straight[1].history]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6])
    without_gain.state.unlink()
    with pytest.raises(Interrupted):
        without_gain(PLATEAU, Watch(4, interrupt))
    assert_same(without_gain(PLATEAU), straight)


class Clock:
    """A replacement for the module `time` whose clock moves only by `move`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


def test_a_budget_of_minutes_ends(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(run, "time", clock)

    def prepare(codec: Codec) -> None:
        loss = codec.loss

        def slow(x: Tensor, reconstruction: Reconstruction, lmbda: float) -> Loss:
            clock.move(7.0)
            return loss(x, reconstruction, lmbda)

        monkeypatch.setattr(codec, "loss", slow)

    trainer.prepare = prepare
    watch = Watch()
    config = changed(SHORT, steps=None, minutes=0.5, validate_every=100, validation_patches=1)
    _, state = trainer(config, watch)
    assert watch.steps == [1, 2, 3, 4, 5], "five steps of 7 s pass half a minute"
    assert watch.spent == pytest.approx([7 / 30, 14 / 30, 21 / 30, 28 / 30, 1])
    assert [row.step for row in state.history] == [5], "a last validation closes the run"
    assert trainer.state.exists()


def test_minutes_that_end_within_a_validation(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is saved then too."""
    clock = Clock()
    monkeypatch.setattr(run, "time", clock)

    def prepare(codec: Codec) -> None:
        costs = codec.distortion_and_rate

        def slow(x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
            if not codec.training:
                clock.move(31.0)
            return costs(x, reconstruction)

        monkeypatch.setattr(codec, "distortion_and_rate", slow)

    trainer.prepare = prepare
    config = changed(SHORT, steps=None, minutes=0.5, validate_every=2, validation_patches=1)
    _, state = trainer(config)
    assert [row.step for row in state.history] == [2]
    assert trainer.state.exists()


def test_real_minutes_end(trainer: Trainer) -> None:
    started = time.monotonic()
    config = changed(SHORT, steps=None, minutes=1 / 60, validate_every=1000, validation_patches=1)
    _, state = trainer(config)
    assert 0.9 < time.monotonic() - started < 20
    assert state.elapsed_s >= 1
    assert len(state.history) == 1
