"""The leaderboard as tables on the terminal."""

from typing import Any

from rich.table import Table

from components.metrics.table import METRICS

_LOSSLESS_COLUMNS = {
    "bpp": ("Rate, bpp", ".4f"),
    "bits_per_sample": ("bits/sample", ".4f"),
    "share_of_png": ("of PNG", ".1%"),
    "encode_s_per_mpx": ("Encoding, s/Mpx", ".3g"),
    "decode_s_per_mpx": ("Decoding, s/Mpx", ".3g"),
    "parameters": ("Parameters", ","),
}
"""Heading and number format of each column, by the field of a row."""


def lossy_table(board: dict[str, Any]) -> Table:
    """Lossy codecs at the target rate, best first, the winner in bold."""
    labels = [metric.label + (f", {metric.unit}" if metric.unit else "") for metric in METRICS.values()]
    table = _table(f"{board['test_set']} at {board['target_bpp']:g} bpp", board["rows"], labels)
    for row in board["rows"]:
        figures = ("-" if row.get(field) is None else f"{row[field]:.4g}" for field in METRICS)
        table.add_row(row["name"], *figures, style="bold" if row["name"] == board["winner"] else None)
    return table


def lossless_table(test_set: str, rows: list[dict[str, Any]]) -> Table:
    """Lossless codecs, smallest first."""
    table = _table(f"{test_set}, lossless", rows, [label for label, _ in _LOSSLESS_COLUMNS.values()])
    for row in rows:
        figures = ("-" if row[key] is None else format(row[key], spec) for key, (_, spec) in _LOSSLESS_COLUMNS.items())
        table.add_row(row["name"], *figures)
    return table


def _table(title: str, rows: list[dict[str, Any]], labels: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("codec", min_width=max(len(row["name"]) for row in rows))  # names are not wrapped
    for label in labels:
        table.add_column(label, justify="right")
    return table
