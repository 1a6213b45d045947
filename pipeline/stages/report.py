"""The stage `report`: evaluations, leaderboard and published curves in, one HTML page out."""

import logging
from dataclasses import asdict
from pathlib import Path

from components.storage.atomic import write_bytes, write_json
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.reporting.comparison import Comparison
from pipeline.reporting.differences import FromWinner, from_winner
from pipeline.reporting.drawings import map_drawing, prefix_drawing, rate_drawings, search_drawing, training_drawing
from pipeline.reporting.inputs import ReportInputs, comparisons, prefix_comparison, rd_points, read_inputs
from pipeline.reporting.page import ReportData, render
from pipeline.reporting.style import png

logger = logging.getLogger(__name__)


def run(root: Path) -> None:
    """Write report/: the page, its plots as files, and rd.json. Raises RatewrightError for a wrong or missing input."""
    inputs, folder = read_inputs(root), Layout(root).report
    rates, search, training = rate_drawings(inputs), search_drawing(inputs), training_drawing(inputs)
    prefixes, maps = prefix_drawing(inputs), map_drawing(inputs)
    page = render(
        ReportData(
            leaderboard=inputs.board,
            evaluations=inputs.evaluations,
            differences=_differences(inputs),
            rate_plots=[drawing.plot() for drawing in rates],
            comparisons=comparisons(root, inputs.evaluations, inputs.board.test_set),
            prefixes=prefixes.plot() if prefixes else None,
            prefix_comparisons=_prefix_comparisons(inputs),
            maps=maps.plot() if maps else None,
            search=search.plot() if inputs.learned else None,
            training=training.plot() if inputs.histories else None,
        )
    )
    write_bytes(folder / "index.html", page.encode())
    points = [asdict(point) for point in rd_points(inputs.evaluations)]
    write_json(folder / "rd.json", [{key: point[key] for key in point if key != "kind"} for point in points])
    drawings = (*rates, search, training, prefixes, maps)
    files = {drawing.file: png(drawing.figure) for drawing in drawings if drawing and drawing.file}
    for file, content in files.items():
        write_bytes(folder / file, content)
    logger.info("report: %s, beside it rd.json, %s", folder / "index.html", ", ".join(files))


def _differences(inputs: ReportInputs) -> FromWinner | None:
    """Lossy codecs against the winner; None without a winner."""
    winner = inputs.board.winner
    return None if winner is None else from_winner(inputs.root, winner, inputs.evaluations)


def _prefix_comparisons(inputs: ReportInputs) -> list[Comparison]:
    """A picture as it sharpens with the bytes that have arrived, of each learned progressive codec."""
    return [
        prefix_comparison(inputs.root, name, inputs.board.test_set, curve)
        for name, curve in inputs.prefix_curves.items()
        if inputs.evaluations[name].kind == "learned"
    ]


if __name__ == "__main__":
    stage(run)
