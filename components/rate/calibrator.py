"""Calibration of a trained codec: a search for the lambda, then for the gain, that meet a target rate in real bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..arrays import Rgb
from ..codecs.base import Codec
from .gain_search import gain_for_target
from .lambda_search import search_lambda
from .real_rate import rate_function
from .trial import Trial

Phase = Literal["training", "trained", "fine_tune", "gain_search", "final"]
"""When a rate was measured: while lambda was controlled in training, after training, after a fine-tune at another
lambda, in the search for the gain, of the calibrated codec."""


@dataclass(frozen=True)
class RateTrial:
    """A rate measured on real bitstreams.

    Attributes:
        phase: When it was measured.
        lmbda: Lambda in the units of the codec's own loss; None for a codec whose rate lambda does not move.
        gain: 1 / quantiser step.
        bpp: Total bits over total pixels.
        steps: Training steps until then.
    """

    phase: Phase
    lmbda: float | None
    gain: float
    bpp: float
    steps: int


class Calibrator:
    """Brings a trained codec to a target rate on a set of pictures.

    First lambda, by further training, where that is worth it; then the gain, without training.

    Attributes:
        codec: Changed in place: its weights by fine-tunes, its gain by the search for it.
        lmbda: Lambda that the codec was last trained with; None for a codec that has none.
        steps: Training steps so far.
        history: Every rate that was measured, in order.
    """

    def __init__(
        self,
        codec: Codec,
        pictures: Sequence[Rgb],
        lmbda: float | None,
        steps: int,
        on_trial: Callable[[RateTrial], None] = lambda _: None,
    ):
        """Measure the trained codec.

        Args:
            codec: A codec with a rate parameter.
            pictures: The calibration set, uint8 (H, W, 3) each.
            lmbda: Lambda at the end of its training.
            steps: Steps of its training.
            on_trial: Called after every measured rate.
        """
        self.codec, self.lmbda, self.steps = codec, lmbda, steps
        self.history: list[RateTrial] = []
        self._pictures, self._on_trial = pictures, on_trial
        self._measure_weights("trained")

    def search_lambda(
        self, target_bpp: float, fine_tune: Callable[[float], int], *, rounds: int, close_enough: float
    ) -> None:
        """Train on at other lambdas until the rate is near the target.

        Args:
            target_bpp: Target rate in bits per pixel.
            fine_tune: Trains the codec at a lambda, and returns the steps that this took.
            rounds: Fine-tunes at the most.
            close_enough: |log(bpp / target)| at which the gain can do the rest.
        """
        if self.lmbda is None or self.codec.rate_parameter is None:
            raise ValueError(f"lambda does not move the rate of codec {self.codec.name!r}")

        def rate_of(lmbda: float) -> float:
            self.lmbda = lmbda
            self.steps += fine_tune(lmbda)
            return self._measure_weights("fine_tune")

        search_lambda(
            rate_of,
            Trial(self.lmbda, self.history[-1].bpp),
            target_bpp,
            raises_rate=self.codec.rate_parameter.raises_rate,
            rounds=rounds,
            close_enough=close_enough,
        )

    def search_gain(self, target_bpp: float, tolerance: float) -> RateTrial:
        """Set the gain that meets the target rate, without training.

        Args:
            target_bpp: Target rate in bits per pixel.
            tolerance: Share of the target by which the rate may fall short.

        Returns:
            The rate of the calibrated codec.

        Raises:
            CalibrationError: No gain meets the target.
        """

        def on_gain(trial: Trial) -> None:
            self.codec.gain.fill_(trial.value)
            self._record("gain_search", trial.bpp)

        gain = gain_for_target(self.codec, self._pictures, target_bpp, tolerance, on_gain, rate_at=self._rate_at)
        self.codec.gain.fill_(gain)
        return self._record("final", self._rate_at(self.codec.gain.item()))

    def _measure_weights(self, phase: Phase) -> float:
        """Analyse the pictures with the weights as they are now, and measure their rate at the codec's gain."""
        self._rate_at = rate_function(self.codec, self._pictures)
        return self._record(phase, self._rate_at(self.codec.gain.item())).bpp

    def _record(self, phase: Phase, bpp: float) -> RateTrial:
        lmbda = self.lmbda if self.codec.has_lambda else None
        trial = RateTrial(phase, lmbda, self.codec.gain.item(), bpp, self.steps)
        self.history.append(trial)
        self._on_trial(trial)
        return trial
