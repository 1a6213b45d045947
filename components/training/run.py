"""One training run: its networks, training steps, validations, return to the best weights, and saved state."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from components.codecs.base import Codec
from components.codecs.discriminator import Discriminator
from components.data.loader import Batch, training_batches, validation_batches
from components.data.shard_reader import Shards
from components.errors import RatewrightError, SourceError
from components.rate.lambda_controller import LambdaController
from components.training.callback import Validation
from components.training.config import TrainingConfig
from components.training.forward import as_float, padded_forward, to_channels_last
from components.training.learning_rate import LearningRate
from components.training.optimised_network import OptimisedNetwork
from components.training.precision import fastest_precision
from components.training.process_group import ProcessGroup
from components.training.state import TrainingState, tensors_under
from components.training.validate import validation_means

_RANK_SEED_OFFSET = 1 << 40  # larger than every seed that the steps of one rank use
_DIVERGED = 4.0  # times the lowest validation loss
_LAMBDA_FIXED_UNTIL = 0.1  # of the budget: earlier rates tell more of the initial weights than of lambda
_NO_LMBDA = 1.0  # for codecs without lambda, whose loss ignores it


class TrainingRun:
    """The networks of a training and what changes them.

    The networks are the codec and its discriminators, if it has any; each takes an optimiser step on every batch.
    `state` is what a saved training resumes from.
    """

    def __init__(
        self,
        codec: Codec,
        shards: Shards,
        config: TrainingConfig,
        seed: int,
        state: TrainingState,
        process_group: ProcessGroup,
        controller: LambdaController | None,
        rate_of: Callable[[Codec], float] | None,
    ):
        """Set up the networks, from `state` where it holds a training that was stopped.

        Args:
            codec: the codec, trained in place.
            shards: training and validation patches.
            config: how to train.
            seed: seed of the sample order and of the noise.
            state: the training state, fresh or loaded.
            process_group: the ranks that train together.
            controller: adjusts lambda after validations; None keeps it.
            rate_of: measures the codec in bits per pixel of real bitstreams.
        """
        self.codec, self.shards, self.config, self.seed = codec, shards, config, seed
        self.state, self.process_group = state, process_group
        self._rate_of, self._controller = rate_of, controller
        self._train_patches = len(shards.patches("train"))
        discriminators = codec.discriminators()
        for network in (codec, *discriminators):
            to_channels_last(network)
        self._validation_batches = validation_batches(
            shards, batch_size=config.batch_size, limit=config.validation_patches
        )
        if not state.step:
            self._begin()
        self.fabric = process_group.fabric(state.precision)
        self.networks = self._optimised(discriminators)
        self.learning_rate = LearningRate(config, self.networks, state)
        if controller is not None:
            controller.lmbda = state.lmbda
        self._clock_start = 0.0

    def batches(self) -> Iterator[Batch]:
        """This rank's batches, from the step after the last one done."""
        return training_batches(
            self.shards,
            batch_size=self.config.batch_size,
            seed=self.seed,
            start_step=self.state.step,
            workers=self.config.workers,
            rank=self.process_group.rank,
            ranks=self.process_group.ranks,
        )

    @property
    def spent(self) -> float:
        """Share of the budget used, from 0 to 1; the same on every rank."""
        return self.config.spent(self.state.step, self.state.elapsed_s)

    @property
    def finished(self) -> bool:
        """Whether the budget is used up."""
        return self.spent == 1

    @property
    def validation_due(self) -> bool:
        """Whether the last step is one after which the codec is validated."""
        return self.state.step % self.config.validate_every == 0 or self.finished

    def step(self, batches: Iterator[Batch]) -> float:
        """Take an optimiser step of every network on the next batch.

        Returns:
            The codec's loss on the batch of all ranks.

        Raises:
            RatewrightError: for a loss that is not finite.
            SourceError: where more patches are undecodable than `config.max_skipped` allows.
        """
        self._clock_start = time.monotonic() - self.state.elapsed_s
        batch = next(batches)
        self.learning_rate.before_step()
        loss = self._descend(batch.patches)
        return self._combined(loss, batch.skipped)

    def validate(self, train_loss: float) -> Validation:
        """Validate on rank 0, and do what follows from it on every rank.

        After a divergence the best weights return. The plateau schedule and the controller of lambda take their step.
        """
        group = self.process_group
        validation = group.broadcast(self._measure(train_loss) if group.rank == 0 else None)
        assert validation is not None
        if validation.diverged:
            self._return_to_best()
        if self.config.schedule == "plateau":
            self.learning_rate.after_validation(validation.val_loss)
            validation = validation.model_copy(update={"lr": self.learning_rate.value})
        bpp = validation.calibration_bpp
        if self._controller is not None and bpp is not None and self.spent > _LAMBDA_FIXED_UNTIL:
            self.state.lmbda = self._controller.update(bpp)
        self.state.history.append(validation)
        self.state.elapsed_s = group.broadcast(self._elapsed_s())
        return validation

    def save(self, location: str | Path) -> None:
        """Write the state that the next run resumes from. Raises RatewrightError."""
        networks = {
            f"{number}/{key}": value
            for number, network in enumerate(self.networks)
            for key, value in network.tensors().items()
        }
        replace(self.state, networks=networks, plateau=self.learning_rate.plateau_state()).save(location)

    def _begin(self) -> None:
        """Set lambda and the precision of a new training."""
        state, config = self.state, self.config
        state.lmbda = _NO_LMBDA if config.lmbda is None else config.lmbda
        state.precision = config.precision
        if config.precision == "auto":
            device = self.process_group.device
            x = self.codec.pad(as_float(self._validation_batches[0], device))
            state.precision = self.process_group.broadcast(fastest_precision(self.codec.to(device), x, state.lmbda))

    def _optimised(self, discriminators: Sequence[Discriminator]) -> list[OptimisedNetwork]:
        """The codec and its discriminators with their optimisers, resumed where the state has them."""
        ratios: list[tuple[nn.Module, float]] = [
            (self.codec, 1.0),
            *((discriminator, discriminator.learning_rate_factor) for discriminator in discriminators),
        ]
        return [
            OptimisedNetwork(
                self.fabric,
                network,
                self.config.optimizer,
                self.config.clip_norm,
                ratio,
                tensors_under(f"{number}", self.state.networks),
                compiled=self.config.compile and network is self.codec,
            )
            for number, (network, ratio) in enumerate(ratios)
        ]

    def _descend(self, patches: Tensor) -> float:
        """One optimiser step of every network on this rank's part of the batch; returns the codec's loss on it."""
        state = self.state
        # Noise depends on seed, step and rank alone: a resumed run draws what an uninterrupted one would have.
        torch.manual_seed(self.seed * 1_000_003 + state.step + self.process_group.rank * _RANK_SEED_OFFSET)
        self.codec.train()
        x = as_float(patches, self.fabric.device)
        network, *discriminators = self.networks
        reconstruction = padded_forward(self.codec, network.model, x)
        loss = self.codec.loss(x, reconstruction, state.lmbda).total
        network.step(loss)
        for discriminator in discriminators:
            discriminator.step(discriminator.model.loss(x, reconstruction.x_hat.detach()))
        state.step += 1
        return loss.item()

    def _combined(self, loss: float, skipped: int) -> float:
        """Combine the ranks' losses, undecodable patches and rank 0's clock; returns the loss on the whole batch."""
        state, config, group = self.state, self.config, self.process_group
        elapsed_s = self._elapsed_s() * (group.rank == 0)
        loss, skipped_by_all, state.elapsed_s = group.sum(loss / group.ranks, skipped, elapsed_s)
        if not math.isfinite(loss):
            raise RatewrightError(f"training diverged: the loss is {loss} at step {state.step}; lower learning_rate")
        state.skipped += round(skipped_by_all)
        drawn = state.step * config.batch_size
        if state.skipped > config.max_skipped * max(drawn, self._train_patches):
            what = f"{state.skipped} of {drawn} patches drawn are damaged"
            raise SourceError(f"{self.shards.location}: {what}, more than max_skipped ({config.max_skipped:g}) allows")
        return loss

    def _measure(self, train_loss: float) -> Validation:
        """Measure the validation patches on rank 0, and keep a copy of the weights if they are the best so far."""
        state = self.state
        means = validation_means(self.codec, self._validation_batches, self.fabric.device)
        loss = self._loss(means.distortion, means.rate)
        lowest = math.inf if state.best_parts is None else self._loss(*state.best_parts)
        diverged = loss > _DIVERGED * lowest
        if loss < lowest:
            state.best_parts = means.distortion, means.rate
            state.best = {key: value.detach().cpu().clone() for key, value in self.codec.state_dict().items()}
        return Validation(
            step=state.step,
            lmbda=state.lmbda if self.codec.has_lambda else None,
            lr=self.learning_rate.value,
            train_loss=train_loss,
            val_loss=loss,
            val_psnr_db=means.psnr_db,
            val_bpp_estimated=means.bpp,
            skipped=state.skipped,
            diverged=diverged,
            calibration_bpp=None if self._rate_of is None or diverged else self._rate_of(self.codec),
        )

    def _return_to_best(self) -> None:
        """Restore the best weights, halve the learning rate, and reset the moments of the codec's optimiser."""
        self.codec.load_state_dict(self.process_group.broadcast(self.state.best))
        self.networks[0].reset_moments()
        self.learning_rate.halve()

    def _loss(self, distortion: float, rate: float) -> float:
        """The codec's loss at the present lambda, so that validations at different lambdas compare."""
        return self.codec.objective(distortion, rate, self.state.lmbda)

    def _elapsed_s(self) -> float:
        """Seconds of training up to now, on this rank's clock; saving and callbacks between steps do not count."""
        return time.monotonic() - self._clock_start
