"""What the user sees of a parallel run: a table that lives on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.schedule.local.critical_path import seconds_left
from pipeline.schedule.local.repro import Display, Plan
from pipeline.schedule.local.runner import Outcome, Result
from pipeline.schedule.local.stage_run import StageRun
from pipeline.schedule.stage_nodes import StageNode

TAIL = 20
"""Lines of a failed stage's log that are shown."""
_REFRESH_S = 0.25
_WAITING_SHOWN = 4


def display_on(console: Console) -> Display:
    """The display for a console: a table on a terminal, otherwise lines."""
    return LiveTable(console) if console.is_terminal else PlainLines(console)


class PlainLines:
    """A line for each start and each end of a stage."""

    def __init__(self, console: Console):
        self._console = console
        self._total = self._done = 0

    def begin(self, plan: Plan, _: dict[str, float], slots: int) -> None:
        """Say how many stages there are."""
        self._total = len(plan.nodes)
        self.say(_opening(plan, slots))

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)
        self._console.file.flush()

    def started(self, node: StageNode, _: StageRun) -> None:
        """Print the start of a stage."""
        self.say(f"started   {node.name}")

    def ended(self, node: StageNode, outcome: Outcome) -> None:
        """Print the end of a stage."""
        self._done += 1
        self.say(_ending(node, outcome, self._done, self._total))

    def refresh(self) -> None:
        """Print nothing."""

    def end(self) -> None:
        """Print nothing."""


class LiveTable:
    """Lines for what has ended, and below them a table of what runs and waits."""

    def __init__(self, console: Console):
        self._console = console
        self._live: Live | None = None
        self._shown_at = 0.0
        self._nodes: list[StageNode] = []
        self._estimate: dict[str, float] = {}
        self._slots = self._total = 0
        self._running: dict[str, tuple[float, StageRun]] = {}
        self._ended: dict[str, Outcome] = {}

    def begin(self, plan: Plan, estimate: dict[str, float], slots: int) -> None:
        """Show the table."""
        self._nodes, self._estimate, self._slots, self._total = list(plan.nodes), estimate, slots, len(plan.nodes)
        self.say(_opening(plan, slots))
        # No thread draws it: a process that forks must not have any.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(text)

    def started(self, node: StageNode, run: StageRun) -> None:
        """Move a stage to those that run."""
        self._running[node.name] = time.monotonic(), run

    def ended(self, node: StageNode, outcome: Outcome) -> None:
        """Print the end of a stage above the table."""
        self._running.pop(node.name, None)
        self._ended[node.name] = outcome
        self.say(_ending(node, outcome, len(self._ended), self._total))

    def refresh(self) -> None:
        """Draw the table anew, if it is time."""
        if self._live is not None and time.monotonic() - self._shown_at > _REFRESH_S:
            self._shown_at = time.monotonic()
            self._live.update(Group(self._table(), self._last_line()), refresh=True)

    def end(self) -> None:
        """Remove the table."""
        if self._live is not None:
            self._live.stop()

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("running", "for", "of about", "", "progress"):
            table.add_column(title, no_wrap=True)
        for name, (started, run) in self._running.items():
            seconds, about = time.monotonic() - started, self._estimate[name]
            found = run.progress()
            done, total = (found.done, found.total) if found else (min(seconds, about), about)
            bar = ProgressBar(total=max(total, 1e-9), completed=done, width=20)
            words = found.label if found else run.state
            table.add_row(name, duration(seconds), duration(about), bar, Text(words, overflow="ellipsis"))
        return table

    def _last_line(self) -> Text:
        left = [node for node in self._nodes if node.name not in self._ended]
        waiting = [node.name for node in left if node.name not in self._running]
        running = {name: time.monotonic() - started for name, (started, _) in self._running.items()}
        seconds = seconds_left(left, self._estimate, running, self._slots)
        return Text(
            f"{len(self._ended)} of {self._total} done, about {duration(seconds)} left{_waiting(waiting)}",
            overflow="ellipsis",
            no_wrap=True,
        )


def duration(seconds: float) -> str:
    """Seconds in words, such as 8 s, 3 min or 2.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def tail(log: Path) -> str:
    """The last lines of a log; of lines that were written over each other, such as progress bars, the last."""
    try:
        text = log.read_bytes().decode(errors="replace")
    except OSError as error:
        return str(error)
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join([line for line in lines if line.strip()][-TAIL:])


def _opening(plan: Plan, slots: int) -> str:
    unchanged = f"{len(plan.unchanged)} stages unchanged, " if plan.unchanged else ""
    return f"{unchanged}{len(plan.nodes)} to look at, {slots} at a time"


def _ending(node: StageNode, outcome: Outcome, done: int, total: int) -> str:
    label = {Result.RAN: "finished", Result.CACHED: "cached"}.get(outcome.result, outcome.result.value)
    why = f": {outcome.why}" if outcome.why else ""
    return f"{label:9} {node.name} in {outcome.seconds:.1f} s ({done} of {total}){why}"


def _waiting(names: Iterable[str]) -> str:
    named = list(names)
    if not named:
        return ""
    more = f" and {len(named) - _WAITING_SHOWN} more" if len(named) > _WAITING_SHOWN else ""
    return f"; waiting: {', '.join(named[:_WAITING_SHOWN])}{more}"
