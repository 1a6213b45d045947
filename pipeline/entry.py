"""How every stage and command starts and fails: quietly, and in one line."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.errors import RatewrightError
from components.training.interrupt import die_with_parent

EXIT_MISTAKE = 2

console = Console(highlight=False, soft_wrap=True)

# Libraries that ask the network for something on import or on start; a firewall would make each wait.
_QUIET = {
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def guarded(action: Callable[[], None]) -> NoReturn:
    """Run `action` and exit: 0, or 2 with one line on standard error for what a user can mend."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary files are removed
    try:
        action()
    except RatewrightError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_MISTAKE) from None
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a full disk, a missing file, no permission
        raise SystemExit(EXIT_MISTAKE) from None
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    raise SystemExit(0)


def stage(run: Callable[..., None]) -> NoReturn:
    """Run a stage in the current folder: `run(root, *arguments of the command line)`."""
    die_with_parent()
    guarded(lambda: run(Path.cwd(), *sys.argv[1:]))


@contextmanager
def progress(label: str) -> Iterator["Bar"]:
    """A progress bar on a terminal; elsewhere it prints nothing, so logs stay readable."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Bar(bars, label)


class Bar:
    """One bar: call it with what is done and what there is in all."""

    def __init__(self, bars: Progress, label: str):
        self._bars, self._task = bars, bars.add_task(label, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bars.update(self._task, completed=done, total=total)

    def note(self, text: str) -> None:
        """Change the bar's label."""
        self._bars.update(self._task, description=text)


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
