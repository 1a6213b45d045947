"""A training as plain data, so that it can run in another process or on another machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.table import build
from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.rate.gain_search import rate_over_gain
from components.rate.lambda_controller import LambdaController
from components.storage.locations import fetched
from components.training.config import Row, TrainingCallback, TrainingConfig
from components.training.pretrained import load_into, read_weights
from components.training.state import TrainingState


@dataclass(frozen=True)
class RateTarget:
    """What lambda is steered by: the rate of real bitstreams against `target_bpp`.

    pictures: uint8 (H, W, 3) each. scale: what their rate is multiplied by, where they stand for larger ones.
    """

    target_bpp: float
    pictures: tuple[Rgb, ...]
    scale: float = 1.0

    def rate(self, codec: Codec) -> float:
        """bpp of the pictures that `pictures` stand for, coded as the codec is now."""
        return self.scale * rate_over_gain(codec, self.pictures)(codec.gain.item())


@dataclass(frozen=True)
class TrainingJob:
    """One training of one codec, from where it begins or from where it was stopped.

    name: what it is called to the user. fingerprint: what it is, from parameters and data: the same one is the same
        training, whoever asks for it.
    codec, hyperparameters: as the table of codecs takes them. config: how it is trained.
    shards: the patches. state: a path or an s3:// address at which its state is kept.
    weights: files of published weights, by the names that the codec knows. start: a checkpoint to go on from.
    Both are paths or addresses. save_every_s: time between saved states, which a kill costs at the most.
    """

    name: str
    fingerprint: str
    codec: str
    hyperparameters: Mapping[str, Any]
    config: TrainingConfig
    shards: Shards
    state: str
    weights: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None
    rate_target: RateTarget | None = None
    save_every_s: float = 60.0

    def begin(self) -> tuple[Codec, list[str]]:
        """The codec with the weights that it starts with, and what the user should know of those it has made up.

        Raises RatewrightError for weights and checkpoints that cannot be had or do not fit.
        """
        torch.manual_seed(self.config.seed)
        codec = build(self.codec, dict(self.hyperparameters))
        weights = {}
        for name, location in self.weights.items():
            with fetched(location) as path:
                weights[name] = partial(load_into, weights=read_weights(path), what=f"{name} from {location}")
        remarks = codec.load_pretrained(weights)
        if self.start is not None:
            with fetched(self.start) as path:
                checkpoint.load_into(codec, path)
            remarks = []
        return codec, remarks

    def refuse_uneven(self, workers: int) -> None:
        """Raise RatewrightError where so many workers cannot have equal parts of every batch: before they start."""
        if self.config.batch_size % workers:
            raise RatewrightError(
                f"{self.name}: batches of {self.config.batch_size} cannot be shared evenly by {workers} workers"
            )

    def train(self, callback: TrainingCallback, stopped: Callable[[], bool] = lambda: False) -> TrainingState:
        """Train to the end in this process, a rank of a `ProcessGroup` if the environment says so. Raises as it."""
        from components.training.loop import train  # imports Lightning

        codec, _ = self.begin()
        controller, rate_of = None, None
        if self.rate_target is not None and codec.rate_parameter is not None and codec.has_lambda:
            controller = LambdaController(
                self.rate_target.target_bpp, self.config.lmbda, codec.rate_parameter.raises_rate
            )
            rate_of = self.rate_target.rate
        return train(
            codec,
            self.shards,
            self.config,
            state_path=self.state,
            fingerprint=self.fingerprint,
            callback=callback,
            controller=controller,
            rate_of=rate_of,
            stopped=stopped,
            save_every_s=self.save_every_s,
        )


class NoCallback:
    """An callback that keeps what it is told to itself."""

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Nothing."""

    def on_validation(self, row: Row) -> None:
        """Nothing."""
