"""Training with `quantisation: hard`: the encoder stays, and the rest learns what the encoder sends."""

from pathlib import Path

import pytest
import torch

from components.codecs.base import Codec
from components.errors import RatewrightError
from components.training.config import TrainingConfig
from components.training.interrupt import Interrupted
from tests.components.training.trainer import SHORT, Make, Trainer, Watch, assert_same, changed, interrupt

pytestmark = pytest.mark.usefixtures("one_thread")
HARD = changed(SHORT, quantisation="hard", learning_rate=3e-3)


@pytest.fixture
def trained(make_codec: Make, tiny_shards: Path, tmp_path: Path) -> Codec:
    """A codec with a hyperprior after twelve soft steps."""
    weights, _ = Trainer(make_codec, tiny_shards, tmp_path / "soft.safetensors", name="haar_hyper")()
    codec = make_codec("haar_hyper")
    codec.load_state_dict(weights)
    return codec


@pytest.fixture
def hard(trained: Codec, trainer: Trainer) -> Trainer:
    """A trainer that goes on from it."""
    trainer.name = "haar_hyper"
    trainer.prepare = lambda codec: codec.load_state_dict(trained.state_dict()) and None
    return trainer


def test_the_encoder_stays_and_the_loss_falls(trained: Codec, hard: Trainer) -> None:
    weights, state = hard(HARD)
    before = trained.state_dict()
    kept = {key for key, value in weights.items() if torch.equal(value, before[key])}
    parts = ("g_a.", "entropy.side.h_a.", "entropy.side.typical.")
    assert {key for key in weights if key.startswith(parts)} <= kept
    assert not {key for key in weights if key.startswith(("g_s.coarse.", "entropy.parameters_net.")) if key in kept}
    first, *_, last = (row.val_loss for row in state.history)
    assert first is not None
    assert last is not None
    assert last < first


def test_a_stopped_run_goes_on_with_the_same_bits(hard: Trainer) -> None:
    straight = hard(HARD)
    hard.state.unlink()
    with pytest.raises(Interrupted):
        hard(HARD, Watch(5, interrupt))
    assert_same(hard(HARD), straight)


@pytest.mark.parametrize("name", ["wcae", "factorized", "atc_progressive"])
def test_codecs_that_do_not_train_so(trainer: Trainer, name: str) -> None:
    trainer.name = name
    with pytest.raises(RatewrightError, match=f"codec '{name}' has no training with quantisation: hard"):
        trainer(HARD)


def test_soft_is_not_told() -> None:
    """So that trainings from before the field keep their identity."""
    assert "quantisation" not in TrainingConfig(steps=1, learning_rate=1).model_dump()
    assert HARD.model_dump()["quantisation"] == "hard"
