"""Leaderboards, differences and garbage as tables on the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from components.metrics.table import METRICS, Metric
from pipeline.documents import Leaderboard

if TYPE_CHECKING:
    from components.evaluation.paired import Difference
    from pipeline.schedule.garbage import Garbage

_LOSSLESS_COLUMNS = {
    "bpp": ("Rate, bpp", ".4f"),
    "bits_per_sample": ("bits/sample", ".4f"),
    "share_of_png": ("of PNG", ".1%"),
    "encode_s_per_mpx": ("Encoding, s/Mpx", ".3g"),
    "decode_s_per_mpx": ("Decoding, s/Mpx", ".3g"),
    "parameters": ("Parameters", ","),
}
"""Heading and number format of each column, by the field of a row."""


def lossy_table(board: Leaderboard) -> Table:
    """Lossy codecs at the target rate, best first, the winner in bold."""
    labels = [_label(metric) for metric in METRICS.values()]
    table = _table(f"{board.test_set} at {board.target_bpp:g} bpp", [row.name for row in board.rows], labels)
    for row in board.rows:
        figures = (_figure(getattr(row, field, None), ".4g") for field in METRICS)
        table.add_row(row.name, *figures, style="bold" if row.name == board.winner else None)
    return table


def lossless_table(board: Leaderboard) -> Table:
    """Lossless codecs, smallest first."""
    labels = [label for label, _ in _LOSSLESS_COLUMNS.values()]
    table = _table(f"{board.test_set}, lossless", [row.name for row in board.lossless], labels)
    for row in board.lossless:
        figures = (_figure(getattr(row, field), spec) for field, (_, spec) in _LOSSLESS_COLUMNS.items())
        table.add_row(row.name, *figures)
    return table


def differences_table(title: str, found: Mapping[str, Mapping[str, "Difference"]]) -> Table:
    """The differences of two codecs, by test set and figure."""
    table = Table(title=title, title_justify="left")
    for heading in ("test set", "figure"):
        table.add_column(heading, overflow="fold")
    for heading in ("difference", "95 % interval", "pictures"):
        table.add_column(heading, justify="right", no_wrap=True)
    for test_set, figures in found.items():
        for figure, (mean, low, high, pictures) in figures.items():
            interval = "-" if low is None else f"{low:+.3g} to {high:+.3g}"
            table.add_row(test_set, _label(METRICS[figure]), f"{mean:+.3g}", interval, str(pictures))
        table.add_section()
    return table


def garbage_table(found: Sequence["Garbage"]) -> Table:
    """What may be deleted, why, and its bytes, with a total."""
    table = Table(show_footer=True)
    table.add_column("what", "total", overflow="fold")
    table.add_column("why it may go")
    table.add_column("bytes", f"{sum(each.bytes for each in found):,}", justify="right")
    for each in found:
        table.add_row(Text(each.what), each.why, f"{each.bytes:,}")
    return table


def _label(metric: Metric) -> str:
    return metric.label + (f", {metric.unit}" if metric.unit else "")


def _figure(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def _table(title: str, names: list[str], labels: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("codec", min_width=max(map(len, names)))  # names are not wrapped
    for label in labels:
        table.add_column(label, justify="right")
    return table
