"""The training loop, on Lightning Fabric."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from components.codecs.base import Codec
from components.codecs.tensors import Reconstruction
from components.data.loader import Batch, training_batches, validation_batches
from components.data.shard_reader import Shards
from components.errors import RatewrightError, SourceError
from components.rate.lambda_controller import LambdaController
from components.training.config import Row, TrainingCallback, TrainingConfig
from components.training.interrupt import stop_requests
from components.training.optimised_network import OptimisedNetwork
from components.training.precision import fastest_precision
from components.training.process_group import ProcessGroup
from components.training.state import TrainingState, under

_NOISE_OF_A_RANK = 1 << 40  # past every seed that steps give
_DIVERGED = 4.0  # times the least loss of a validation
_STEERING_STARTS = 0.1  # of the budget: before, the rate says more of the start than of lambda


class Interrupted(RatewrightError):
    """Training was stopped; its state is kept, and the same call goes on from it."""


def train(
    codec: Codec,
    shards: Shards,
    config: TrainingConfig,
    *,
    state_path: str | Path,
    fingerprint: str,
    callback: TrainingCallback,
    controller: LambdaController | None = None,
    rate_of: Callable[[Codec], float] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    save_every_s: float = 60.0,
) -> TrainingState:
    """Train `codec` in place on `shards`, and leave it with the weights of the best validation.

    With `controller`, lambda is steered: at every validation `rate_of(codec)` gives the bpp of real bitstreams.
    The best validation is the one with the least loss at the lambda of the moment, so that validations at
    different lambdas compare. After one with four times that loss, training has diverged: it goes on from the best
    weights at half the learning rate.

    Raises Interrupted on SIGINT or SIGTERM, and once `stopped()`, after the state is saved, and SourceError past
    `config.max_skipped`. The state is saved every `save_every_s`: what a kill costs at the most.

    Several processes may train together (`ProcessGroup`): each calls this with the same arguments and takes its part of
    every batch. Rank 0 measures, keeps the state, and is the only one
    whose callback is called, and that has the best weights.
    """
    state = TrainingState.load(state_path, fingerprint)
    group = ProcessGroup()
    run = _Run(codec, shards, config, state, group)
    if controller is not None:
        controller.lmbda = state.lmbda
    batches = run.batches()
    saved = time.monotonic()
    over = config.spent(state.step, state.elapsed_s) == 1
    first = group.rank == 0
    with stop_requests() as signalled:
        while not over:
            started, spent_before = time.monotonic(), state.elapsed_s
            batch = next(batches)
            own_loss = run.step(batch.patches)
            loss, elapsed_s = run.agreed(own_loss, batch.skipped, spent_before + time.monotonic() - started)
            spent = config.spent(state.step, elapsed_s)
            if first:
                callback.on_step(spent, state.step, loss)
            validated = state.step % config.validate_every == 0 or spent == 1
            if validated:
                row = run.validate(loss, rate_of)
                if controller is not None and row["calibration_bpp"] is not None and spent > _STEERING_STARTS:
                    state.lmbda = controller.update(row["calibration_bpp"])
                state.history.append(row)
                elapsed_s = group.broadcast(spent_before + time.monotonic() - started)
            state.elapsed_s = elapsed_s
            over = validated and config.spent(state.step, state.elapsed_s) == 1
            stop = group.any(signalled() or stopped())
            # Saved before it is told: whoever listens may be gone, which is why it stops.
            if first and (over or stop or time.monotonic() - saved > save_every_s):
                run.save(state_path)
                saved = time.monotonic()
            if first and validated:
                callback.on_validation(row)
            if stop and not over:
                raise Interrupted(f"stopped at step {state.step}; run the same command to go on from there")
    codec.load_state_dict(state.best or codec.state_dict())
    codec.to("cpu").eval()
    return state


class _Run:
    """The moving parts of one training run; `state` holds what survives it.

    Its networks are the codec and the codec's discriminators, if it has any, each of which takes a step on every batch.
    """

    def __init__(self, codec: Codec, shards: Shards, config: TrainingConfig, state: TrainingState, group: ProcessGroup):
        self.codec, self.shards, self.config, self.state, self.group = codec, shards, config, state, group
        self.patches = len(shards.patches("train"))
        self.discriminators = codec.discriminators()
        paces = [
            (codec, 1.0),
            *((discriminator, discriminator.learning_rate_factor) for discriminator in self.discriminators),
        ]
        for network, _ in paces:
            to_channels_last(network)
        self.validation = validation_batches(shards, batch_size=config.batch_size, limit=config.validation_patches)
        if not state.step:
            state.lmbda = config.lmbda
            state.precision = config.precision
            if config.precision == "auto":
                x = codec.pad(as_float(self.validation[0], group.device))
                state.precision = group.broadcast(fastest_precision(codec.to(group.device), x, state.lmbda))
        self.fabric = group.fabric(state.precision)
        self.networks = [
            OptimisedNetwork(
                self.fabric,
                network,
                config.optimizer,
                config.clip_norm,
                pace,
                under(f"{number}", state.networks),
                compiled=config.compile and network is codec,
            )
            for number, (network, pace) in enumerate(paces)
        ]
        self._set_learning_rate(self._peak_learning_rate())
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.networks[0].optimizer.optimizer, factor=0.1, patience=config.patience
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
            rank=self.group.rank,
            ranks=self.group.ranks,
        )

    def step(self, batch: Tensor) -> float:
        """One step of every network on this rank's part of the batch; returns the codec's loss on it."""
        state, config = self.state, self.config
        if config.schedule == "cosine":
            self._set_learning_rate(_cosine(config.spent(state.step, state.elapsed_s)) * self._peak_learning_rate())
        # Noise that depends on step and rank alone: a resumed run draws what an uninterrupted one would have.
        torch.manual_seed(config.seed * 1_000_003 + state.step + self.group.rank * _NOISE_OF_A_RANK)
        self.codec.train()
        x = as_float(batch, self.fabric.device)
        network, *opponents = self.networks
        reconstruction = coded(self.codec, network.model, x)
        loss = self.codec.loss(x, reconstruction, state.lmbda).total
        network.descend(loss)
        for opponent in opponents:
            opponent.descend(opponent.model.loss(x, reconstruction.x_hat.detach()))
        state.step += 1
        return loss.item()

    def agreed(self, loss: float, skipped: int, elapsed_s: float) -> tuple[float, float]:
        """The loss on the whole batch, and rank 0's time: what follows from them is the same on every rank.

        Raises RatewrightError for a loss that is not finite, SourceError past the share of damaged patches.
        """
        state, config, group = self.state, self.config, self.group
        loss, skipped_by_all, elapsed_s = group.sum(loss / group.ranks, skipped, elapsed_s * (group.rank == 0))
        if not math.isfinite(loss):
            raise RatewrightError(f"training diverged: the loss is {loss} at step {state.step}; lower learning_rate")
        state.skipped += round(skipped_by_all)
        drawn = state.step * config.batch_size
        if state.skipped > config.max_skipped * max(drawn, self.patches):
            what = f"{state.skipped} of {drawn} patches drawn are damaged"
            raise SourceError(f"{self.shards.location}: {what}, more than max_skipped ({config.max_skipped:g}) allows")
        return loss, elapsed_s

    def validate(self, train_loss: float, rate_of: Callable[[Codec], float] | None) -> Row:
        """What rank 0 finds on the validation patches, and what follows from it on every rank."""
        row = self.group.broadcast(self._measure(train_loss, rate_of) if self.group.rank == 0 else {})
        if row["diverged"]:
            self._go_back()
        if self.config.schedule == "plateau":
            self.plateau.step(row["val_loss"])
            self._set_learning_rate(self._learning_rate())
            row["lr"] = self._learning_rate()
        return row

    def _measure(self, train_loss: float, rate_of: Callable[[Codec], float] | None) -> Row:
        """Measure the validation patches, keep the weights if they are the best, and say how it went."""
        state = self.state
        self.codec.eval()
        parts, psnr, bpp = [], [], []
        with torch.inference_mode():
            for batch in self.validation:
                x = as_float(batch, self.fabric.device)
                reconstruction = coded(self.codec, self.codec, x)
                parts.append(self.codec.distortion_and_rate(x, reconstruction))
                error = (x - reconstruction.x_hat.clamp(0, 1)).square().mean(dim=(1, 2, 3))
                psnr.append(-10 * error.clamp_min(1e-10).log10())
                bpp.append(reconstruction.bits / x[0, 0].numel())
        distortion, rate = (float(torch.stack(part).mean()) for part in zip(*parts, strict=True))
        loss = self._loss(distortion, rate)
        least = math.inf if state.best_parts is None else self._loss(*state.best_parts)
        diverged = loss > _DIVERGED * least
        if loss < least:
            state.best_parts = distortion, rate
            state.best = {key: value.detach().cpu().clone() for key, value in self.codec.state_dict().items()}
        return {
            "step": state.step,
            "lmbda": state.lmbda if self.codec.has_lambda else None,
            "lr": self._learning_rate(),
            "train_loss": train_loss,
            "val_loss": loss,
            "val_psnr_db": float(torch.cat(psnr).mean()),
            "val_bpp_estimated": float(torch.cat(bpp).mean()),
            "skipped": state.skipped,
            "diverged": diverged,
            "calibration_bpp": None if rate_of is None or diverged else rate_of(self.codec),
        }

    def _go_back(self) -> None:
        """To the best weights, with half the learning rate and nothing left of the way that led astray."""
        self.codec.load_state_dict(self.group.broadcast(self.state.best))
        self.networks[0].forget()
        self.state.halvings += 1
        self._set_learning_rate(self._learning_rate() / 2)

    def save(self, location: str | Path) -> None:
        """Write the state for the next run."""
        state = replace(
            self.state,
            networks={
                f"{number}/{key}": value
                for number, network in enumerate(self.networks)
                for key, value in network.tensors().items()
            },
            plateau=self.plateau.state_dict() if self.config.schedule == "plateau" else {},
        )
        state.save(location)

    def _loss(self, distortion: float, rate: float) -> float:
        return self.codec.objective(distortion, rate, self.state.lmbda)

    def _peak_learning_rate(self) -> float:
        return self.config.learning_rate * 0.5**self.state.halvings

    def _learning_rate(self) -> float:
        rate: float = self.networks[0].optimizer.param_groups[0]["lr"]
        return rate

    def _set_learning_rate(self, value: float) -> None:
        for network in self.networks:
            network.set_learning_rate(value)


def to_channels_last(module: torch.nn.Module) -> None:
    """Lay the weights of convolutions out channels last, in place: the layout that bfloat16 kernels are made for."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def as_float(batch: Tensor, device: torch.device) -> Tensor:
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
