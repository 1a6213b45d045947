"""A training described by plain data, so that another process or machine can run it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ..arrays import Rgb
from ..codecs import checkpoint
from ..codecs.base import Codec
from ..codecs.table import build
from ..data.loader import Batch
from ..data.shard_reader import Shards
from ..errors import RatewrightError
from ..rate.lambda_controller import LambdaController
from ..rate.real_rate import rate_function
from ..storage.locations import fetched
from .callback import TrainingCallback
from .config import TrainingConfig
from .pretrained import copy_weights, read_weights
from .state import TrainingState


@dataclass(frozen=True)
class RateTarget:
    """The rate that training adjusts lambda to, and the pictures on which it measures the rate.

    target_bpp: bits per pixel of real bitstreams.
    pictures: uint8 (H, W, 3) each, often crops that represent larger pictures.
    scale: factor from the rate of `pictures` to the rate of the pictures that they represent.
    """

    target_bpp: float
    pictures: tuple[Rgb, ...]
    scale: float = 1.0

    def rate(self, codec: Codec) -> float:
        """Measure the real rate of `codec` at its present gain, in bits per pixel of the represented pictures."""
        return self.scale * rate_function(codec, self.pictures)(codec.gain.item())


@dataclass(frozen=True)
class TrainingJob:
    """One training of one codec.

    Attributes:
        name: its name in messages.
        fingerprint: hash of its parameters and data; jobs with the same hash are the same training.
        codec: name in the table of codecs.
        hyperparameters: arguments of the codec.
        config: how it is trained.
        shards: training and validation patches.
        state: path or s3:// address of the training state.
        seed: seed of the initial weights, the sample order and the noise.
        weights: paths or addresses of published weights, by the names that the codec defines.
        start: path or address of a checkpoint that training starts from; None for new weights.
        rate_target: the rate that lambda is adjusted to; None keeps lambda.
        save_every_s: seconds between saves of the state, which is the most work that a kill costs.
    """

    name: str
    fingerprint: str
    codec: str
    hyperparameters: Mapping[str, Any]
    config: TrainingConfig
    shards: Shards
    state: str
    seed: int = 0
    weights: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None
    rate_target: RateTarget | None = None
    save_every_s: float = 60.0

    def initial_codec(self) -> tuple[Codec, list[str]]:
        """Build the codec with its initial weights.

        Returns:
            The codec, and messages for the user about weights that were drawn at random for want of published ones.

        Raises:
            RatewrightError: for weights or a checkpoint that cannot be read or do not fit the codec.
        """
        torch.manual_seed(self.seed)
        codec = build(self.codec, dict(self.hyperparameters))
        weights = {}
        for name, location in self.weights.items():
            with fetched(location) as path:
                source = f"{name} from {location}"
                weights[name] = partial(copy_weights, weights=read_weights(path), source=source)
        messages = codec.load_pretrained(weights)
        if self.start is not None:
            with fetched(self.start) as path:
                checkpoint.load_into(codec, path, further_parts=True)
            messages = []
        return codec, messages

    def check_divisible(self, workers: int) -> None:
        """Raise RatewrightError if the batches cannot be divided evenly among `workers` processes."""
        if self.config.batch_size % workers:
            raise RatewrightError(
                f"{self.name}: batches of {self.config.batch_size} cannot be divided evenly among {workers} workers"
            )

    def train(
        self,
        callback: TrainingCallback,
        stop_requested: Callable[[], bool] = lambda: False,
        wrap_batches: Callable[[Iterator[Batch]], Iterator[Batch]] = lambda batches: batches,
    ) -> TrainingState:
        """Train to the end in this process, which is one rank of a `ProcessGroup` if the environment defines one.

        Args:
            callback: receives the progress, on rank 0 only.
            stop_requested: polled after every step; True stops the training.
            wrap_batches: called with this rank's batches, as `loop.train` does.

        Returns:
            The final state, as `loop.train` returns it.

        Raises:
            Interrupted: if the training was stopped.
            RatewrightError: if it failed, as `loop.train` does.
        """
        from .loop import train  # imports Lightning, which takes seconds

        codec, _ = self.initial_codec()
        controller, rate_of = None, None
        if self.rate_target is not None and codec.rate_parameter is not None and codec.has_lambda:
            assert self.config.lmbda is not None
            controller = LambdaController(
                self.rate_target.target_bpp, self.config.lmbda, codec.rate_parameter.raises_rate
            )
            rate_of = self.rate_target.rate
        return train(
            codec,
            self.shards,
            self.config,
            seed=self.seed,
            state_path=self.state,
            fingerprint=self.fingerprint,
            callback=callback,
            controller=controller,
            rate_of=rate_of,
            stop_requested=stop_requested,
            save_every_s=self.save_every_s,
            wrap_batches=wrap_batches,
        )
