"""What stages say, and their progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True)


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
