"""Leaderboards, differences and garbage as tables on the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from components.metrics.table import METRICS, Metric
from pipeline.config import params
from pipeline.documents import Leaderboard
from pipeline.schedule.sweeps.grid import labels, word

if TYPE_CHECKING:
    from components.evaluation.paired import Difference
    from pipeline.schedule.garbage import Garbage
    from pipeline.schedule.sweeps.sweep import Measured

_LOSSLESS_COLUMNS = {
    "bpp": ("Rate, bpp", ".4f"),
    "bits_per_sample": ("bits/sample", ".4f"),
    "share_of_png": ("of PNG", ".1%"),
    "encode_s_per_mpx": ("Encoding, s/Mpx", ".3g"),
    "decode_s_per_mpx": ("Decoding, s/Mpx", ".3g"),
    "parameters": ("Parameters", ","),
}
"""Heading and number format of each column, by the field of a row."""

_SWEPT = ("bpp", "psnr_db", "ms_ssim")
"""Figures of a sweep's table."""


def lossy_table(board: Leaderboard) -> Table:
    """Lossy codecs at the target rate, best first, the winner in bold; the notes of starred ones are below."""
    headings = ["codec", *(_label(metric) for metric in METRICS.values())]
    rows = [
        [row.name + (" *" if row.note else ""), *(_figure(getattr(row, field, None), ".4g") for field in METRICS)]
        for row in board.rows
    ]
    table = _table(f"{board.test_set} at {board.target_bpp:g} bpp", headings, rows, bold=board.winner)
    table.caption = "\n".join(f"* {row.name}: {row.note}" for row in board.rows if row.note)
    return table


def lossless_table(board: Leaderboard) -> Table:
    """Lossless codecs, smallest first."""
    headings = ["codec", *(label for label, _ in _LOSSLESS_COLUMNS.values())]
    columns = _LOSSLESS_COLUMNS.items()
    rows = [[row.name, *(_figure(getattr(row, key), spec) for key, (_, spec) in columns)] for row in board.lossless]
    return _table(f"{board.test_set}, lossless", headings, rows)


def differences_table(title: str, test_set: str, figures: Mapping[str, "Difference"]) -> Table:
    """The differences of two codecs on a test set, by figure."""
    rows = []
    for figure, (mean, low, high, pictures) in figures.items():
        interval = "-" if low is None else f"{low:+.3g} to {high:+.3g}"
        rows.append([_label(METRICS[figure]), f"{mean:+.3g}", interval, str(pictures)])
    return _table(f"{title}, {test_set}", ["figure", "difference", "95 % interval", "pictures"], rows)


def sweep_table(results: Sequence["Measured"]) -> Table:
    """The params and the figures of a sweep's experiments, a row for each codec that an experiment measured."""
    keys = labels(results[0].experiment.point)
    rows, starred = [], False
    for experiment, evaluations in ((each.experiment, each.evaluations) for each in results):
        begin = [experiment.name, *(word(value) for value in experiment.point.values())]
        test_set = params.loads(experiment.settings).data.test
        for evaluation in evaluations:
            measured = evaluation.test_sets[test_set]
            point = measured.compared(evaluation.target_bpp)
            starred |= point is None
            name = evaluation.name + ("" if point else " *")
            figures = (getattr(point or measured.as_calibrated, field) for field in _SWEPT)
            rows.append([*begin, name, *(_figure(figure, ".5g") for figure in figures)])
        if not evaluations:
            rows.append([*begin, *"-" * (1 + len(_SWEPT))])
    headings = ["experiment", *keys, "codec", *(_label(METRICS[field]) for field in _SWEPT)]
    table = _table("", headings, rows)
    table.caption = "* as calibrated: it has no setting that meets the target on the test set" if starred else None
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


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], bold: str | None = None) -> Table:
    """A table whose words and figures are whole: a narrow terminal folds headings between words, and then lines.

    Args:
        title: Above the table.
        headings: Of the columns; the first has names, and the others have figures.
        rows: The cells.
        bold: The name of the row in bold.
    """
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        widest = max(map(len, (*heading.split(), *(row[number] for row in rows))))
        table.add_column(heading, justify="right" if number else "left", min_width=widest)
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == bold else None)
    return table
