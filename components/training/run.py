"""One training run: its networks, training steps, validations, return to the best weights, and saved state."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..codecs.base import Codec
from ..codecs.discriminator import Discriminator
from ..data.loader import Batch, validation_batches
from ..data.shard_reader import Shards
from ..errors import RatewrightError, SourceError
from ..rate.lambda_controller import LambdaController
from .best_weights import BestWeights
from .callback import Validation
from .config import TrainingConfig
from .forward import as_float, padded_forward, to_channels_last
from .learning_rate import LearningRate
from .optimised_network import OptimisedNetwork
from .patch_stream import patch_stream
from .precision import fastest_precision
from .process_group import ProcessGroup
from .state import TrainingState, tensors_under
from .validate import validation_means

_RANK_SEED_OFFSET = 1 << 40  # larger than every seed that the steps of one rank use
_DIVERGED = 4.0  # times the lowest validation loss
_LAMBDA_FIXED_UNTIL = 0.1  # of the budget: earlier rates tell more of the initial weights than of lambda
_NO_LMBDA = 1.0  # for codecs without lambda, whose loss ignores it
_MOST_FAILURES = 8  # in a row: the learning rate is then less than a 200th, and lower ones would not help
_ADVICE = "lower learning_rate"

logger = logging.getLogger(__name__)


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
        if config.quantisation == "hard":
            codec.fix_encoder()
        discriminators = codec.discriminators()
        for network in (codec, *discriminators):
            to_channels_last(network)
        self._best = BestWeights(state, (codec, *discriminators)) if process_group.rank == 0 else None
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
        return patch_stream(self.shards, self.config, self.seed, self.state, self.process_group)

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

        After a loss that is not finite the best weights return, or else the initial ones.

        Returns:
            The codec's loss on the batch of all ranks.

        Raises:
            RatewrightError: for too many losses in a row that are not finite.
            SourceError: where more patches are undecodable than `config.max_skipped` allows.
        """
        self._clock_start = time.monotonic() - self.state.elapsed_s
        batch = next(batches)
        self.learning_rate.before_step()
        loss = self._combined(self._descend(batch.patches), batch.skipped)
        if not math.isfinite(loss):
            self._recover(f"the loss is {loss}")
        return loss

    def validate(self, train_loss: float) -> Validation:
        """Validate on rank 0, and do what follows from it on every rank.

        After a divergence the best weights return. The plateau schedule and the controller of lambda take their step.

        Args:
            train_loss: the loss of the last step, as `step` returned it.

        Raises:
            RatewrightError: for too many losses in a row that are not finite, and where training ends without a
                validation that went well.
        """
        group = self.process_group
        validation = group.broadcast(self._measure(train_loss) if group.rank == 0 else None)
        assert validation is not None
        if not validation.diverged:
            self.state.failures = 0
        elif math.isfinite(train_loss):  # otherwise the step has returned to the best weights
            if validation.val_loss is None:
                self._recover("the validation loss is not finite")
            else:
                self._return_to_best()
        if self.config.schedule == "plateau":
            self.learning_rate.after_validation(validation.val_loss)
            validation = validation.model_copy(update={"lr": self.learning_rate.value})
        bpp = validation.calibration_bpp
        if self._controller is not None and bpp is not None and self.spent > _LAMBDA_FIXED_UNTIL:
            self.state.lmbda = self._controller.update(bpp)
        self.state.history.append(validation)
        self.state.elapsed_s = group.broadcast(self._elapsed_s())
        if self.finished and all(row.diverged for row in self.state.history):
            raise RatewrightError(f"training diverged: no validation of {self.state.step} steps went well; {_ADVICE}")
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
            if self.process_group.rank == 0:
                logger.info("precision %s, the faster one here; another machine may take the other", state.precision)

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
        norms = [network.step(loss)]
        for discriminator in discriminators:
            norms.append(discriminator.step(discriminator.model.loss(x, reconstruction.x_hat.detach())))
        state.step += 1
        # A finite loss can have a gradient that is not; codecs cannot compute the next loss with such weights.
        steps = zip(self.networks, norms, strict=True)
        sound = all(math.isfinite(norm.item()) or network.is_finite() for network, norm in steps)
        return loss.item() if sound else math.nan

    def _combined(self, loss: float, skipped: int) -> float:
        """Combine the ranks' losses, undecodable patches and rank 0's clock; returns the loss on the whole batch."""
        state, config, group = self.state, self.config, self.process_group
        elapsed_s = self._elapsed_s() * (group.rank == 0)
        loss, skipped_by_all, state.elapsed_s = group.sum(loss / group.ranks, skipped, elapsed_s)
        state.skipped += round(skipped_by_all)
        drawn = state.step * config.batch_size
        if state.skipped > config.max_skipped * max(drawn, self._train_patches):
            what = f"{state.skipped} of {drawn} patches drawn are damaged"
            raise SourceError(f"{self.shards.location}: {what}, more than max_skipped ({config.max_skipped:g}) allows")
        return loss

    def _measure(self, train_loss: float) -> Validation:
        """Measure the validation patches on rank 0, and keep a copy of the weights if they are the best so far.

        train_loss: the loss of the last step. If it is not finite, the weights measured are those that returned.
        """
        state = self.state
        means = validation_means(self.codec, self._validation_batches, self.fabric.device)
        loss = self._loss(means.distortion, means.rate)
        lowest = math.inf if state.best_parts is None else self._loss(*state.best_parts)
        went_well = math.isfinite(train_loss) and math.isfinite(loss) and loss <= _DIVERGED * lowest
        if math.isfinite(loss) and loss < lowest:
            state.best_parts = means.distortion, means.rate
            assert self._best is not None, "only rank 0 measures"
            self._best.keep(self.networks)
        return Validation(
            step=state.step,
            lmbda=state.lmbda if self.codec.has_lambda else None,
            lr=self.learning_rate.value,
            train_loss=_finite(train_loss),
            val_loss=_finite(loss),
            val_psnr_db=_finite(means.psnr_db),
            val_bpp_estimated=_finite(means.bpp),
            skipped=state.skipped,
            diverged=not went_well,
            calibration_bpp=self._rate_of(self.codec) if self._rate_of is not None and went_well else None,
        )

    def _recover(self, why: str) -> None:
        """Return to the best weights after a loss that is not finite. Raises RatewrightError after too many."""
        state = self.state
        state.failures += 1
        if state.failures > _MOST_FAILURES:
            halved = f"after {_MOST_FAILURES} halvings of the learning rate"
            raise RatewrightError(f"training diverged: {why} at step {state.step}, {halved}; {_ADVICE}")
        if self.process_group.rank == 0:
            where = "the best weights" if state.best else "the initial weights"
            logger.warning("%s at step %d: back to %s, half the learning rate", why, state.step, where)
        self._return_to_best()

    def _return_to_best(self) -> None:
        """Restore the best weights, halve the learning rate, and reset the moments of the codec's optimiser.

        A discriminator goes on with the weights that it has, unless they are not finite.
        """
        weights = {} if self._best is None else self._best.to_restore(self.networks)
        for number, tensors in self.process_group.broadcast(weights).items():
            self.networks[number].restart_from(tensors)
        self.learning_rate.halve()

    def _loss(self, distortion: float, rate: float) -> float:
        """The codec's loss at the present lambda, so that validations at different lambdas compare."""
        return self.codec.objective(distortion, rate, self.state.lmbda)

    def _elapsed_s(self) -> float:
        """Seconds of training up to now, on this rank's clock; saving and callbacks between steps do not count."""
        return time.monotonic() - self._clock_start


def _finite(value: float) -> float | None:
    """The value, or None where it is not finite: JSON has no other numbers."""
    return value if math.isfinite(value) else None
