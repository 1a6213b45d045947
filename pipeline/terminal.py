"""How every command and stage logs, shows progress and fails: levels, bars, exit codes, one line for an error."""

import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.errors import RatewrightError

EXIT_MISTAKE = 2
LOG_VARIABLE = "RATEWRIGHT_LOG"
"""Environment variable with the level of messages: one of LOG_LEVELS."""
PROGRESS_VARIABLE = "RATEWRIGHT_PROGRESS"
"""Environment variable with a file: whoever shows the progress of several stages reads that of one there."""
PROGRESS_S = 0.5
"""Seconds between two writes of the file."""
LOG_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def console_on_output() -> Console:
    """A console on what is standard output now."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


console = console_on_output()
"""Standard output, for the results of commands and for progress bars. Messages go through `logging`."""

_LOGGERS = ("pipeline", "components", "__main__")  # a stage is the module __main__ of its process

# These libraries use the network on import or on start; behind a firewall each would wait.
_QUIET = {
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class ConsoleHandler(logging.Handler):
    """Log records on a rich console: the message alone, and from WARNING on the level in front of it.

    A record that comes while a progress bar is shown is printed above the bar. Lines are never wrapped, and square
    brackets are no markup.
    """

    def __init__(self, to: Console):
        super().__init__()
        self._to = to

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        notable = record.levelno >= logging.WARNING
        text = f"{record.levelname.lower()}: {self.format(record)}" if notable else self.format(record)
        style = "yellow" if notable else "dim" if record.levelno < logging.INFO else None
        self._to.print(text, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


def set_up_logging(level: int | None = None, to: Console = console) -> None:
    """Show the messages of the project's modules; those of libraries stay as the libraries have them.

    Args:
        level: The lowest level shown; None takes that of RATEWRIGHT_LOG, which is INFO where it is not set.
        to: Where messages go.

    Raises:
        RatewrightError: RATEWRIGHT_LOG holds something else than a level.
    """
    if level is None:
        name = os.environ.get(LOG_VARIABLE) or "info"
        if name.lower() not in LOG_LEVELS:
            raise RatewrightError(f"{LOG_VARIABLE} is {name!r}; it can be {', '.join(LOG_LEVELS)}")
        level = LOG_LEVELS[name.lower()]
    for logger in map(logging.getLogger, _LOGGERS):
        logger.handlers = [known for known in logger.handlers if not isinstance(known, ConsoleHandler)]
        logger.addHandler(ConsoleHandler(to))
        logger.setLevel(level)


def guarded(action: Callable[[], None]) -> NoReturn:
    """Run `action` and exit with 0, or with 2 and one line on standard error for an error that a user can fix."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary files are removed
    try:
        set_up_logging()
        action()
    except RatewrightError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_MISTAKE) from None
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a full disk, a missing file, no permission
        raise SystemExit(EXIT_MISTAKE) from None
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        gc.freeze()  # Python collects once more as it ends: the objects of torch and MLflow alone would take a second
    raise SystemExit(0)


@contextmanager
def progress(label: str) -> Iterator["Bar"]:
    """A progress bar on a terminal. Elsewhere it prints nothing, so that logs stay readable.

    Where RATEWRIGHT_PROGRESS names a file, that holds the bar's label, units done and units in all, as a JSON list.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Bar(bars, label)


class Bar:
    """One progress bar; calling it moves it."""

    def __init__(self, bars: Progress, label: str):
        self._bars, self._task, self._label = bars, bars.add_task(label, total=None), label
        self._file, self._written = os.environ.get(PROGRESS_VARIABLE), -PROGRESS_S

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` units of work are done."""
        self._bars.update(self._task, completed=done, total=total)
        if self._file and time.monotonic() - self._written > PROGRESS_S:
            self._written = time.monotonic()
            with suppress(OSError):  # a full disk must not end a training that has nothing else to write
                Path(self._file).write_text(json.dumps([self._label, done, total]))

    def note(self, text: str) -> None:
        """Change the bar's label."""
        self._label = text
        self._bars.update(self._task, description=text)


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
