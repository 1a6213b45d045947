"""The training loop on tiny shards, a recording callback, and the comparison of two runs."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from components.codecs.base import Codec
from components.data.shard_reader import Shards
from components.rate.lambda_controller import LambdaController
from components.training.callback import Validation
from components.training.config import TrainingConfig
from components.training.loop import train
from components.training.state import TrainingState

Make = Callable[..., Codec]
Weights = dict[str, torch.Tensor]
Run = tuple[Weights, TrainingState]

SHORT = TrainingConfig(
    batch_size=4,
    learning_rate=1e-3,
    lmbda=0.01,
    steps=12,
    precision="32-true",
    validate_every=3,
    validation_patches=5,
    workers=0,
)
SEED = 9
TARGET = 0.5  # bits per pixel


def changed(config: TrainingConfig, **fields: Any) -> TrainingConfig:
    """A copy with other values of some fields, which need not be valid."""
    return config.model_copy(update=fields)


class Watch:
    """Records the progress, and calls `act` after step `at`."""

    def __init__(self, at: int = 0, act: Callable[[], None] = lambda: None):
        self.at, self.act = at, act
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.spent: list[float] = []
        self.rows: list[Validation] = []

    def on_step(self, spent: float, step: int, loss: float) -> None:
        self.steps.append(step)
        self.losses.append(loss)
        self.spent.append(spent)
        if step == self.at:
            self.act()

    def on_validation(self, validation: Validation) -> None:
        self.rows.append(validation)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


class Trainer:
    """Trains a new codec on the tiny shards with each call, as the stage does."""

    def __init__(
        self,
        make_codec: Make,
        shards: Path,
        state: Path,
        prepare: Callable[[Codec], None] = lambda _: None,
        name: str = "nowcae",
    ):
        """prepare: called with each fresh codec."""
        self.make_codec, self.shards, self.state, self.prepare, self.name = make_codec, shards, state, prepare, name

    def __call__(
        self,
        config: TrainingConfig = SHORT,
        watch: Watch | None = None,
        *,
        fingerprint: str = "this run",
        seed: int = SEED,
        rate_of: Callable[[Codec], float] | None = None,
    ) -> Run:
        """`rate_of` in place of `a_rate`; at `TARGET` lambda stays."""
        codec = self.make_codec(self.name, seed=1)
        self.prepare(codec)
        state = train(
            codec,
            Shards(str(self.shards)),
            config,
            seed=seed,
            state_path=self.state,
            fingerprint=fingerprint,
            callback=watch or Watch(),
            controller=LambdaController(TARGET, config.lmbda or 1.0, raises_rate=False),
            rate_of=rate_of or a_rate,
        )
        assert not codec.training
        return dict(codec.state_dict()), state


def a_rate(codec: Codec) -> float:
    """A replacement for the rate of real files that depends on the weights, and so adjusts lambda."""
    return 0.4 + float(next(codec.parameters()).detach().abs().mean())


def assert_same(run: Run, expected: Run) -> None:
    """Assert that weights and history are equal bit for bit."""
    (weights, state), (others, other) = run, expected
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        assert torch.equal(value, others[key]), key
    assert state.history == other.history
    assert (state.step, state.lmbda) == (other.step, other.lmbda)
    assert tuple(state.best_parts or ()) == tuple(other.best_parts or ())
