"""The training loop, on Lightning Fabric."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor

from components.codecs.base import Codec, Reconstruction
from components.errors import RatewrightError, SourceError
from components.images.loader import Batch, training_batches, validation_batches
from components.images.shard_reader import Shards
from components.training.config import Observer, Row, TrainingConfig
from components.training.interrupt import stop_requests
from components.training.players import Player
from components.training.precision import fastest_precision
from components.training.rate_control import RateControl
from components.training.state import TrainingState, under

_SAVE_EVERY_S = 60.0
_STEERING_STARTS = 0.1  # of the budget: before, the rate says more of the start than of lambda


class Interrupted(RatewrightError):
    """Training was stopped; its state is kept, and the same call goes on from it."""


def train(
    codec: Codec,
    shards: Shards,
    config: TrainingConfig,
    *,
    state_path: Path,
    fingerprint: str,
    observer: Observer,
    control: RateControl | None = None,
    rate_of: Callable[[Codec], float] | None = None,
) -> TrainingState:
    """Train `codec` in place on `shards`, and leave it with the weights of the best validation.

    With `control`, lambda is steered: at every validation `rate_of(codec)` gives the bpp of real bitstreams.
    The best validation is the one with the least loss at the lambda of the moment, so that validations at
    different lambdas compare. Raises Interrupted on SIGINT or SIGTERM, after the state is saved, and SourceError
    past `config.max_skipped`.
    """
    state = TrainingState.load(state_path, fingerprint)
    run = _Run(codec, shards, config, state)
    if control is not None:
        control.lmbda = state.lmbda
    batches = run.batches()
    saved = time.monotonic()
    over = config.spent(state.step, state.elapsed_s) == 1
    with stop_requests() as stopping:
        while not over:
            started, spent_before = time.monotonic(), state.elapsed_s
            batch = next(batches)
            run.count_skipped(batch.skipped)
            loss = run.step(batch.patches)
            spent = config.spent(state.step, spent_before + time.monotonic() - started)
            observer.on_step(spent, state.step, loss)
            validated = state.step % config.validate_every == 0 or spent == 1
            if validated:
                row = run.validate(loss, rate_of)
                if control is not None and row["calibration_bpp"] is not None and spent > _STEERING_STARTS:
                    state.lmbda = control.update(row["calibration_bpp"])
                state.history.append(row)
            state.elapsed_s = spent_before + time.monotonic() - started
            over = validated and config.spent(state.step, state.elapsed_s) == 1
            stop = stopping()
            # Saved before it is told: whoever listens may be gone, which is why it stops.
            if over or stop or time.monotonic() - saved > _SAVE_EVERY_S:
                run.save(state_path)
                saved = time.monotonic()
            if validated:
                observer.on_validation(row)
            if stop and not over:
                raise Interrupted(f"stopped at step {state.step}; run the same command to go on from there")
    codec.load_state_dict(state.best or codec.state_dict())
    codec.to("cpu").eval()
    return state


class _Run:
    """The moving parts of one training run; `state` holds what survives it.

    Its players are the codec and the codec's critics, if it has any, each of which takes a step on every batch.
    """

    def __init__(self, codec: Codec, shards: Shards, config: TrainingConfig, state: TrainingState):
        self.codec, self.shards, self.config, self.state = codec, shards, config, state
        self.epoch: int = shards.index()["splits"]["train"]["samples"]
        self.critics = codec.critics()
        paces = [(codec, 1.0), *((critic, critic.pace) for critic in self.critics)]
        for network, _ in paces:
            to_channels_last(network)
        self.validation = validation_batches(shards, batch_size=config.batch_size, limit=config.validation_patches)
        if not state.step:
            state.lmbda = config.lmbda
            state.precision = config.precision
            if config.precision == "auto":
                device = Fabric(accelerator="auto", devices=1).device
                x = codec.pad(prepared(self.validation[0], device))
                state.precision = fastest_precision(codec.to(device), x, state.lmbda)
        self.fabric = Fabric(accelerator="auto", devices=1, precision=state.precision)
        self.players = [
            Player(self.fabric, network, config.optimizer, config.clip_norm, pace, under(f"{number}", state.players))
            for number, (network, pace) in enumerate(paces)
        ]
        self._set_learning_rate(config.learning_rate)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.players[0].optimizer.optimizer, factor=0.1, patience=config.patience
        )
        if state.plateau:
            self.plateau.load_state_dict(state.plateau)
            self._set_learning_rate(state.plateau["_last_lr"][0])

    def batches(self) -> Iterator[Batch]:
        config = self.config
        return training_batches(
            self.shards,
            batch_size=config.batch_size,
            seed=config.seed,
            start_step=self.state.step,
            workers=config.workers,
        )

    def count_skipped(self, skipped: int) -> None:
        """Count the damaged patches of the coming step; too many are a SourceError."""
        state, config = self.state, self.config
        state.skipped += skipped
        drawn = (state.step + 1) * config.batch_size
        if skipped and state.skipped > config.max_skipped * max(drawn, self.epoch):
            what = f"{state.skipped} of {drawn} patches drawn are damaged"
            raise SourceError(f"{self.shards.location}: {what}, more than max_skipped ({config.max_skipped:g}) allows")

    def step(self, batch: Tensor) -> float:
        """One step of every player; returns the codec's loss."""
        state, config = self.state, self.config
        if config.schedule == "cosine":
            self._set_learning_rate(_cosine(config.spent(state.step, state.elapsed_s)) * config.learning_rate)
        # Noise that depends on the step alone: a resumed run draws what an uninterrupted one would have.
        torch.manual_seed(config.seed * 1_000_003 + state.step)
        self.codec.train()
        x = prepared(batch, self.fabric.device)
        player, *opponents = self.players
        reconstruction = coded(self.codec, player.model, x)
        loss = self.codec.loss(x, reconstruction, state.lmbda).total
        player.descend(loss)
        for opponent, critic in zip(opponents, self.critics, strict=True):
            opponent.descend(critic.loss(x, reconstruction.x_hat.detach()))
        state.step += 1
        value = loss.item()
        if not math.isfinite(value):
            raise RatewrightError(f"training diverged: the loss is {value} at step {state.step}; lower learning_rate")
        return value

    def validate(self, train_loss: float, rate_of: Callable[[Codec], float] | None) -> Row:
        """Measure the validation patches, keep the weights if they are the best, and say how it went."""
        state = self.state
        self.codec.eval()
        parts, psnr, bpp = [], [], []
        with torch.inference_mode():
            for batch in self.validation:
                x = prepared(batch, self.fabric.device)
                reconstruction = coded(self.codec, self.codec, x)
                parts.append(self.codec.costs(x, reconstruction))
                error = (x - reconstruction.x_hat.clamp(0, 1)).square().mean(dim=(1, 2, 3))
                psnr.append(-10 * error.clamp_min(1e-10).log10())
                bpp.append(reconstruction.bits / x[0, 0].numel())
        distortion, rate = (float(torch.stack(part).mean()) for part in zip(*parts, strict=True))
        if state.best_parts is None or self._loss(distortion, rate) < self._loss(*state.best_parts):
            state.best_parts = distortion, rate
            state.best = {key: value.detach().cpu().clone() for key, value in self.codec.state_dict().items()}
        if self.config.schedule == "plateau":
            self.plateau.step(self._loss(distortion, rate))
            self._set_learning_rate(self._learning_rate())
        return {
            "step": state.step,
            "lmbda": state.lmbda if self.codec.steered else None,
            "lr": self._learning_rate(),
            "train_loss": train_loss,
            "val_loss": self._loss(distortion, rate),
            "val_psnr_db": float(torch.cat(psnr).mean()),
            "val_bpp_estimated": float(torch.cat(bpp).mean()),
            "skipped": state.skipped,
            "calibration_bpp": None if rate_of is None else rate_of(self.codec),
        }

    def save(self, path: Path) -> None:
        """Write the state for the next run."""
        state = replace(
            self.state,
            players={
                f"{number}/{key}": value
                for number, player in enumerate(self.players)
                for key, value in player.tensors().items()
            },
            plateau=self.plateau.state_dict() if self.config.schedule == "plateau" else {},
        )
        state.save(path)

    def _loss(self, distortion: float, rate: float) -> float:
        return self.codec.objective(distortion, rate, self.state.lmbda)

    def _learning_rate(self) -> float:
        rate: float = self.players[0].optimizer.param_groups[0]["lr"]
        return rate

    def _set_learning_rate(self, value: float) -> None:
        for player in self.players:
            player.set_learning_rate(value)


def to_channels_last(module: torch.nn.Module) -> None:
    """Lay the weights of convolutions out channels last, in place: the layout that bfloat16 kernels are made for."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepared(batch: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, 3, H, W) to float32 in [0, 1] on `device`, channels last."""
    return batch.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last) / 255


def coded(codec: Codec, forward: Callable[[Tensor], Reconstruction], x: Tensor) -> Reconstruction:
    """`forward` of patches (B, 3, H, W) of any size: padded as pictures are in use, and cropped on the way back.

    The bits are those of the padded patches, since a stream pays for them too.
    """
    padded = codec.pad(x)
    if padded.shape == x.shape:
        return forward(x)
    reconstruction = forward(padded)
    return reconstruction._replace(x_hat=reconstruction.x_hat[..., : x.shape[-2], : x.shape[-1]])


def _cosine(spent: float) -> float:
    warm = min(1.0, spent / 0.02 + 0.05)
    return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * spent)) / 2)
