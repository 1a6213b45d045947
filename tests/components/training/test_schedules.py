"""How the learning rate goes, and when a budget ends."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from components.codecs.base import Codec
from components.training import loop
from components.training.config import Row, TrainingConfig
from components.training.loop import Interrupted
from tests.components.training.trainer import SHORT, Trainer, Watch, assert_same, interrupt

pytestmark = pytest.mark.usefixtures("one_thread")


def test_schedules(trainer: Trainer) -> None:
    rates = {}
    for schedule in ("constant", "cosine"):
        config = replace(SHORT, schedule=schedule, validate_every=2, validation_patches=1, steps=6)
        rates[schedule] = [row["lr"] for row in trainer(config, fingerprint=schedule)[1].history]
    assert rates["constant"] == [1e-3] * 3
    expected = [1e-3 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 6)) / 2) for step in (1, 3, 5)]
    assert rates["cosine"] == pytest.approx(expected)


def plateau(monkeypatch: pytest.MonkeyPatch) -> TrainingConfig:
    """Validations that never gain: after two of them in vain the learning rate is a tenth."""
    monkeypatch.setattr(loop._Run, "_loss", lambda run, distortion, rate: 1.0)  # noqa: ARG005
    return replace(SHORT, schedule="plateau", patience=1, validate_every=1, validation_patches=1, steps=7)


def test_the_plateau_schedule(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    _, state = trainer(plateau(monkeypatch))
    rates = [row["lr"] for row in state.history]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6])


def test_the_plateau_schedule_survives_a_stop(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plateau(monkeypatch)
    straight = trainer(config)
    trainer.state.unlink()
    with pytest.raises(Interrupted):
        trainer(config, Watch(4, interrupt))
    assert_same(trainer(config), straight)


class Clock:
    """time.monotonic that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


def test_a_budget_of_minutes_ends(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    real = loop._Run.step

    def step(run: "loop._Run", batch: torch.Tensor) -> float:
        clock.move(7.0)
        return real(run, batch)

    monkeypatch.setattr(loop._Run, "step", step)
    watch = Watch()
    config = replace(SHORT, steps=None, minutes=0.5, validate_every=100, validation_patches=1)
    _, state = trainer(config, watch)
    assert watch.steps == [1, 2, 3, 4, 5], "five steps of 7 s pass half a minute"
    assert watch.spent == pytest.approx([7 / 30, 14 / 30, 21 / 30, 28 / 30, 1])
    assert [row["step"] for row in state.history] == [5], "a last validation closes the run"
    assert trainer.state.exists()


def test_minutes_that_end_within_a_validation(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage `train` deletes the state in the end: there must be one."""
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    real = loop._Run.validate

    def validate(run: "loop._Run", train_loss: float, rate_of: Callable[[Codec], float] | None) -> Row:
        clock.move(31.0)
        return real(run, train_loss, rate_of)

    monkeypatch.setattr(loop._Run, "validate", validate)
    config = replace(SHORT, steps=None, minutes=0.5, validate_every=2, validation_patches=1)
    _, state = trainer(config)
    assert [row["step"] for row in state.history] == [2]
    assert trainer.state.exists()


def test_real_minutes_end(trainer: Trainer) -> None:
    started = time.monotonic()
    config = replace(SHORT, steps=None, minutes=1 / 60, validate_every=1000, validation_patches=1)
    _, state = trainer(config)
    assert 0.9 < time.monotonic() - started < 20
    assert state.elapsed_s >= 1
    assert len(state.history) == 1
