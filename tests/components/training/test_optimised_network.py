"""Trainings with a discriminator, with another optimiser, or compiled: interrupted and resumed."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.codecs.base import Codec
from components.data.shard_reader import Shards
from components.training.callback import Validation
from components.training.config import OptimizerName, TrainingConfig
from components.training.interrupt import Interrupted
from components.training.loop import train
from components.training.state import TrainingState, tensors_under

pytestmark = pytest.mark.usefixtures("one_thread")
Weights = dict[str, torch.Tensor]


class Stop:
    """Interrupts after step `at`."""

    def __init__(self, at: int = 0):
        self.at = at

    def on_step(self, spent: float, step: int, loss: float) -> None:  # noqa: ARG002
        if step == self.at:
            signal.raise_signal(signal.SIGINT)

    def on_validation(self, validation: Validation) -> None:
        pass


@pytest.fixture
def run(make_codec: Callable[..., Codec], tiny_shards: Path, tmp_path: Path) -> Callable[..., tuple[Weights, Weights]]:
    """A function that trains for six steps or up to a stop; returns the weights and the saved networks."""

    def one(name: str, optimizer: OptimizerName, state: str, stop: int = 0, **others: Any) -> tuple[Weights, Weights]:
        codec = make_codec(name, seed=1)
        config = TrainingConfig(
            batch_size=3,
            learning_rate=2e-3,
            lmbda=0.01,
            optimizer=optimizer,
            steps=6,
            precision="32-true",
            validate_every=3,
            validation_patches=3,
            workers=0,
            **others,
        )
        path = tmp_path / state
        train(codec, Shards(str(tiny_shards)), config, seed=9, state_path=path, fingerprint="", callback=Stop(stop))
        return dict(codec.state_dict()), TrainingState.load(path, "").networks

    return one


@pytest.mark.parametrize(
    ("name", "optimizer", "networks"),
    [
        ("gan_ae_w", "adam", 2),
        ("gan_ae_dc", "adam", 2),
        ("gan_ae_w", "sgd", 2),
        ("wcae", "sgd", 1),
        ("wcae", "soap", 1),
    ],
)
def test_all_networks_resume_bit_for_bit(
    name: str, optimizer: OptimizerName, networks: int, run: Callable[..., tuple[Weights, Weights]]
) -> None:
    straight = run(name, optimizer, "straight")
    with pytest.raises(Interrupted):
        run(name, optimizer, "stopped", stop=4)
    resumed = run(name, optimizer, "stopped")
    for mine, others in zip(resumed, straight, strict=True):
        assert mine.keys() == others.keys()
        for key, value in mine.items():
            assert torch.equal(value, others[key]), key
    kept = resumed[1]
    assert {key.partition("/")[0] for key in kept} == {str(number) for number in range(networks)}
    momentum = "momentum_buffer" if optimizer == "sgd" else "exp_avg"
    for number in range(networks):
        assert tensors_under(f"{number}/optimizer/0", kept)[momentum].abs().max() > 0, "it has learned"


def test_discriminators_have_a_learning_rate_of_their_own(
    make_codec: Callable[..., Codec], run: Callable[..., tuple[Weights, Weights]]
) -> None:
    (discriminator,) = make_codec("gan_ae_w", seed=1).discriminators()
    _, kept = run("gan_ae_w", "adam", "state")
    after = tensors_under("1/model", kept)
    moved = max(float((after[key] - value).abs().max()) for key, value in discriminator.state_dict().items())
    assert 0 < moved <= 6 * discriminator.learning_rate_factor * 2e-3 * 1.1, "Adam's steps are about its rate"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those of torch by torch
def test_a_compiled_codec_keeps_the_names_of_its_weights_and_its_noise(
    run: Callable[..., tuple[Weights, Weights]],
) -> None:
    plain, _ = run("wcae", "adam", "plain")
    with torch.compiler.set_stance("force_eager"):  # compiling takes minutes on a processor
        with pytest.raises(Interrupted):
            run("wcae", "adam", "compiled", stop=4, compile=True)
        compiled, kept = run("wcae", "adam", "compiled", compile=True)
    assert tensors_under("0/model", kept).keys() == plain.keys()
    assert all(torch.equal(compiled[key], value) for key, value in plain.items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those of torch by torch
def test_a_compiled_codec_is_compiled(run: Callable[..., tuple[Weights, Weights]]) -> None:
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError, match="fail_on_recompile"):
        run("wcae", "adam", "state", compile=True)
