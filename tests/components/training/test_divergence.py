"""Divergence of a training: return to the best weights, or an error."""

import math
from pathlib import Path
from typing import Literal

import pytest
import torch

from components.codecs.base import Codec
from components.errors import RatewrightError
from components.training.interrupt import Interrupted
from tests.components.training.trainer import SHORT, Trainer, Watch, changed, interrupt

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_loss_that_is_not_finite_is_an_error_of_one_line(trainer: Trainer) -> None:
    with pytest.raises(RatewrightError, match=r"diverged: the loss is nan at step \d+; lower learning_rate"):
        trainer(changed(SHORT, lmbda=math.nan))
    assert not trainer.state.exists()


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
    assert rows[2].val_loss > 4 * rows[1].val_loss
    assert rows[3].val_loss < 1.5 * rows[1].val_loss
    assert rows[2].calibration_bpp is None
    assert rows[3].lmbda == rows[2].lmbda, "what was led diverging does not steer"
    assert rows[3].lr == pytest.approx(undisturbed.rows[3].lr / 2)

    trainer.state = tmp_path / "interrupted.safetensors"
    with pytest.raises(Interrupted):
        trainer(config, Divergence(trainer, at=10).watch)
    again, _ = trainer(config)
    assert all(torch.equal(weights[key], again[key]) for key in weights)
