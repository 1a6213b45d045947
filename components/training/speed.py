"""The speed of a training as it runs: patches per second, and the share of the time that goes into waiting for data."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..data.loader import Batch
from .callback import TrainingCallback, Validation


@dataclass(frozen=True)
class Speed:
    """Figures of the steps in a stretch of time.

    images_per_s: patches per second of the steps, without validations.
    px_per_s: their pixels per second.
    waiting: share of the steps' time in which the loop waited for a batch, 0 to 1.
    validating: share of all time that went into validations and into saving the state after them, 0 to 1.
    """

    images_per_s: float
    px_per_s: float
    waiting: float
    validating: float


class SpeedMeter:
    """A training callback that measures the speed anew in each stretch of time, and passes everything on.

    The first step of a process is left out: it builds kernels and fills the loader. The training needs `timed` as well:

        job.train(meter, wrap_batches=meter.timed)
    """

    def __init__(
        self, callback: TrainingCallback, report: Callable[[Speed], None] = lambda _: None, every_s: float = math.inf
    ):
        """Set up.

        Args:
            callback: receives what this one receives.
            report: called with the speed of each stretch, after a step.
            every_s: length of a stretch in seconds.
        """
        self._callback, self._report, self._every_s = callback, report, every_s
        self._mark: float | None = None  # up to which all time is accounted for
        self._start_stretch()

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; counts them, and the seconds for which each is waited."""
        while True:
            started = time.perf_counter()
            batch = next(batches)
            self._waited_s += time.perf_counter() - started
            count, _, height, width = batch.patches.shape
            self._images += count
            self._pixels += count * height * width
            yield batch

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Pass the step on, account for its time, and report where a stretch is over."""
        self._callback.on_step(spent, step, loss)
        elapsed_s = self._since_mark()
        if elapsed_s is None:
            self._start_stretch()  # the first step
        else:
            self._steps_s += elapsed_s
            if self._steps_s + self._validations_s >= self._every_s:
                self._report(self.speed())
                self._start_stretch()

    def on_validation(self, validation: Validation) -> None:
        """Pass the validation on, and account for its time."""
        self._callback.on_validation(validation)
        self._validations_s += self._since_mark() or 0.0

    def speed(self) -> Speed:
        """The speed of the present stretch, which has a step at least."""
        return Speed(
            images_per_s=self._images / self._steps_s,
            px_per_s=self._pixels / self._steps_s,
            waiting=self._waited_s / self._steps_s,
            validating=self._validations_s / (self._steps_s + self._validations_s),
        )

    def _since_mark(self) -> float | None:
        """Seconds since the last call; None on the first one."""
        before, self._mark = self._mark, time.perf_counter()
        return None if before is None else self._mark - before

    def _start_stretch(self) -> None:
        self._steps_s = self._validations_s = self._waited_s = 0.0
        self._images = self._pixels = 0
