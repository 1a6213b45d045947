"""Divergence of a training: return to the best weights, or an error."""

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch

from components.codecs.base import Codec
from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.training.callback import Validation
from components.training.interrupt import Interrupted
from components.training.launchers.local import free_port
from components.training.loop import train
from components.training.state import TrainingState
from tests.components.training.trainer import SHORT, TARGET, Make, Trainer, Watch, assert_same, changed, interrupt

pytestmark = pytest.mark.usefixtures("one_thread")


def test_losses_that_are_not_finite_at_any_rate_are_an_error_of_one_line(
    trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    said = "^training diverged: the loss is nan at step 9, after 8 halvings of the learning rate; lower learning_rate$"
    with caplog.at_level(logging.WARNING), pytest.raises(RatewrightError, match=said):
        trainer(changed(SHORT, lmbda=math.nan), watch)
    assert [(row.val_loss, row.diverged) for row in watch.rows] == [(None, True)] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f"the loss is nan at step {step}: back to the initial weights, half the learning rate" for step in range(1, 9)
    ]
    assert not trainer.state.exists()


def test_a_training_without_a_good_validation_is_an_error(trainer: Trainer) -> None:
    said = "^training diverged: no validation of 2 steps went well; lower learning_rate$"
    with pytest.raises(RatewrightError, match=said):
        trainer(changed(SHORT, lmbda=math.nan, steps=2))
    assert not trainer.state.exists()


def loss_of(row: Validation) -> float:
    """The loss of a validation, which must be finite."""
    assert row.val_loss is not None
    return row.val_loss


class Divergence:
    """Makes a trainer's codec diverge after step 8, by scaling its weights, and interrupts it after step `at`."""

    def __init__(self, trainer: Trainer, at: int = 0):
        self.watch, self.at = Watch(8, self.act), at
        trainer.prepare = self.prepare

    def prepare(self, codec: Codec) -> None:
        self.codec = codec

    def act(self) -> None:
        with torch.no_grad():
            for parameter in self.codec.parameters():
                parameter.mul_(1.5)
        if self.at:
            self.watch.at, self.watch.act = self.at, interrupt


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_a_training_that_diverges_goes_on_from_its_best_weights_at_half_the_rate(
    trainer: Trainer, tmp_path: Path, schedule: Literal["constant", "cosine", "plateau"]
) -> None:
    config = changed(SHORT, schedule=schedule)
    undisturbed = Watch()
    trainer(config, undisturbed)
    trainer.state = tmp_path / "diverging.safetensors"
    diverging = Divergence(trainer)
    weights, _ = trainer(config, diverging.watch)
    rows = diverging.watch.rows
    assert [row.diverged for row in rows] == [False, False, True, False]
    before, diverged, after = (loss_of(row) for row in rows[1:])
    assert diverged > 4 * before
    assert after < 1.5 * before
    assert rows[2].calibration_bpp is None
    assert rows[3].lmbda == rows[2].lmbda, "what was led diverging does not steer"
    assert rows[3].lr == pytest.approx(undisturbed.rows[3].lr / 2)

    trainer.state = tmp_path / "interrupted.safetensors"
    with pytest.raises(Interrupted):
        trainer(config, Divergence(trainer, at=10).watch)
    again, _ = trainer(config)
    assert all(torch.equal(weights[key], again[key]) for key in weights)


class Poison:
    """Makes the weights of a trainer's codec NaN after step `at`, and interrupts training after step `stop`."""

    def __init__(self, trainer: Trainer, at: int, stop: int = 0):
        self.stop, self.watch = stop, Watch(at, self.act)
        trainer.prepare = self.prepare

    def prepare(self, codec: Codec) -> None:
        self.codec = codec

    def act(self) -> None:
        with torch.no_grad():
            for parameter in self.codec.parameters():
                parameter.fill_(math.nan)
        if self.stop:
            self.watch.at, self.watch.act = self.stop, interrupt


@pytest.mark.parametrize(
    ("at", "schedule"),
    [(1, "plateau"), (2, "cosine"), (3, "plateau"), (7, "plateau"), (7, "constant"), (8, "cosine"), (9, "plateau")],
)
def test_after_a_loss_that_is_not_finite_training_goes_on_at_half_the_rate(
    trainer: Trainer, tmp_path: Path, at: int, schedule: Literal["constant", "cosine", "plateau"]
) -> None:
    """Weights are NaN after step `at`: before the first validation or later, and a step or a validation meets them.

    A training that is stopped then, or later, resumes bit for bit.
    """
    config = changed(SHORT, schedule=schedule)
    poison = Poison(trainer, at)
    run = trainer(config, poison.watch)
    rows = poison.watch.rows
    seen = {9: "a validation", 3: "a validation"}.get(at, "a step")
    assert [math.isnan(loss) for loss in poison.watch.losses] == [
        seen == "a step" and step == at + 1 for step in range(1, 13)
    ]
    expected = {2: [True, False, False, False], 3: [True, False, False, False], 8: [False, False, True, False]}
    expected[9] = expected[8]
    assert [row.diverged for row in rows] == expected.get(at, [False] * 4)
    assert [row.val_loss is None for row in rows] == [seen == "a validation" and row.step == at for row in rows]
    assert all(math.isfinite(value) for row in rows for value in row.model_dump().values() if value is not None)
    state = run[1]
    assert (state.halvings, state.failures) == (1, 0)
    factor = {"constant": 1.0, "plateau": 1.0, "cosine": 0.01 + 0.99 * (1 + math.cos(math.pi * 11 / 12)) / 2}[schedule]
    assert rows[-1].lr == pytest.approx(SHORT.learning_rate / 2 * factor)
    assert all(value.isfinite().all() for value in run[0].values())

    for stop in {at + 1, at + 2, 11} - {12}:
        trainer.state = tmp_path / f"stopped-{stop}.safetensors"
        with pytest.raises(Interrupted):
            trainer(config, Poison(trainer, at, stop).watch)
        assert_same(trainer(config), run)


def test_training_goes_back_to_the_weights_it_has(trainer: Trainer) -> None:
    """To the initial ones before the first validation, then to the best ones: what is validated next are those."""
    config = changed(SHORT, validation_patches=1)
    initial = trainer.make_codec(trainer.name, seed=1).state_dict()
    returned: list[dict[str, torch.Tensor]] = []

    class Snapshots(Watch):
        codec: Codec
        validated: ClassVar[dict[int, dict[str, torch.Tensor]]] = {}

        def on_step(self, spent: float, step: int, loss: float) -> None:
            super().on_step(spent, step, loss)
            if math.isnan(loss):
                returned.append({key: value.clone() for key, value in self.codec.state_dict().items()})
            if step in (1, 7):
                with torch.no_grad():
                    next(self.codec.parameters()).fill_(math.nan)
            if step in (3, 6):
                self.validated[step] = {key: value.clone() for key, value in self.codec.state_dict().items()}

    watch = Snapshots()
    trainer.prepare = lambda codec: setattr(watch, "codec", codec)
    trainer(config, watch, rate_of=lambda _: TARGET)
    best = min(watch.rows[:2], key=loss_of).step
    assert len(returned) == 2
    for weights, expected in zip(returned, (initial, watch.validated[best]), strict=True):
        assert all(torch.equal(weights[key], expected[key]) for key in expected)


ONE_RANK_FAILS = """
import json
import math
import os
import sys
import torch
torch.set_num_threads(1)
from components.codecs.table import codec_class
from components.data.shard_reader import Shards
from components.training.config import TrainingConfig
from components.training.loop import train
from tests.components.training.trainer import Watch
torch.manual_seed(1)
codec, watch, factors = codec_class("nowcae")(), Watch(), iter([1.0, math.nan])
loss = codec.loss
if os.environ["RANK"] == "1":
    def spoilt(*arguments):
        found = loss(*arguments)
        return found._replace(total=found.total * next(factors, 1.0))
    codec.loss = spoilt
state = train(codec, Shards(sys.argv[1]), TrainingConfig(**json.loads(sys.argv[2])), state_path=sys.argv[3],
              fingerprint="f", callback=watch)
print(json.dumps([state.step, state.halvings, [row.model_dump() for row in state.history], watch.losses]))
"""


def test_ranks_agree_where_one_of_them_fails(tiny_shards: Path, tmp_path: Path) -> None:
    config = changed(SHORT, steps=4, validate_every=4, validation_patches=1)
    arguments = [str(tiny_shards), config.model_dump_json(), str(tmp_path / "state")]
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **rendezvous}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_RANK_FAILS, *arguments],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        first, second = (json.loads(rank.communicate(timeout=120)[0].splitlines()[-1]) for rank in ranks)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert first[:3] == second[:3]
    step, halvings, (row,), losses = first
    assert (step, halvings, row["diverged"]) == (4, 1, False)
    assert [math.isfinite(loss) for loss in losses] == [True, False, True, True]
    assert TrainingState.load(tmp_path / "state", "f").halvings == 1


@pytest.mark.parametrize("name", ["qae", "atc_progressive", "gan_ae_w"])
def test_a_gradient_that_is_not_finite(name: str, make_codec: Make, tiny_shards: Path, tmp_path: Path) -> None:
    """Two of these codecs cannot compute a loss with weights that are not finite."""
    codec, watch = make_codec(name), Watch()
    calls = iter([1.0, math.nan])
    hook = lambda gradient: gradient * next(calls, 1.0)  # noqa: E731
    next(codec.parameters()).register_hook(hook)  # type: ignore[no-untyped-call]
    config = changed(SHORT, steps=4, validation_patches=1, validate_every=2)
    state = train(
        codec, Shards(str(tiny_shards)), config, state_path=tmp_path / "state", fingerprint="f", callback=watch
    )
    assert [math.isfinite(loss) for loss in watch.losses] == [True, False, True, True]
    assert [row.diverged for row in state.history] == [True, False]
    assert all(value.isfinite().all() for value in codec.state_dict().values())


@pytest.mark.parametrize("at", [1, 4])
def test_a_discriminator_that_is_not_finite_returns_too(
    at: int, make_codec: Make, tiny_shards: Path, tmp_path: Path
) -> None:
    codec = make_codec("gan_ae_w")
    (discriminator,) = codec.discriminators()

    def poison() -> None:
        with torch.no_grad():
            for parameter in discriminator.parameters():
                parameter.fill_(math.nan)

    watch = Watch(at, poison)
    config = changed(SHORT, steps=6, validation_patches=1)
    state = train(
        codec, Shards(str(tiny_shards)), config, state_path=tmp_path / "state", fingerprint="f", callback=watch
    )
    assert [math.isnan(loss) for loss in watch.losses] == [step == at + 1 for step in range(1, 7)]
    assert state.halvings == 1
    for network in (codec, discriminator):
        assert all(value.isfinite().all() for value in network.state_dict().values())
    kept = TrainingState.load(tmp_path / "state", "f").best_discriminators
    assert set(kept) == {f"1/{key}" for key in discriminator.state_dict()}
