"""The progress of a training for the user: a bar for the steps, a message for each validation."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from components.training.callback import Validation
from pipeline.terminal import Bar, progress

_UNITS = 1000  # of the bar: the budget is a share, the bar counts

logger = logging.getLogger(__name__)


class ProgressLogger:
    """A training callback that moves a progress bar and logs validations."""

    def __init__(self, label: str, bar: Bar, on_validation: Callable[[Validation], None]):
        """Set up.

        Args:
            label: Name of the training in messages.
            bar: Moved after every step.
            on_validation: Also called with every validation.
        """
        self._label, self._bar, self._also = label, bar, on_validation

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Move the bar to the share of the budget that is spent."""
        self._bar(round(spent * _UNITS), _UNITS)
        self._bar.note(f"{self._label} step {step} loss {loss:.4f}")

    def on_validation(self, validation: Validation) -> None:
        """Log the validation."""
        logger.info("%s: %s", self._label, validation)
        self._also(validation)


@contextmanager
def progress_logger(
    label: str, on_validation: Callable[[Validation], None] = lambda _: None
) -> Iterator[ProgressLogger]:
    """A ProgressLogger with a progress bar of its own."""
    with progress(label) as bar:
        yield ProgressLogger(label, bar, on_validation)
