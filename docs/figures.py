"""Tables of the reference run's figures, on the pages that compare codecs with their papers.

python -m docs.figures     # renew the tables between the markers `figures` of docs/codecs/
"""

import re

from components.storage.atomic import write_bytes
from pipeline.documents import Leaderboard, RunRecord, read
from pipeline.documents.leaderboard import LossyRow
from pipeline.paths import CHECKOUT, Layout
from pipeline.terminal import console, guarded

RUN = "real"
"""The kept run that the pages show."""
PAGES = CHECKOUT / "docs" / "codecs"

_PLACE = re.compile(r"(<!-- figures: (.*?) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def figures(codecs: list[str]) -> str:
    """A table of the named codecs in the reference run, on its test set and on its calibration set."""
    folder = Layout(CHECKOUT).results(RUN)
    board, run = read(Leaderboard, folder / "leaderboard.json"), read(RunRecord, folder / "run.json")
    sets, measures = (board.test_set, board.calibration.test_set), ("bpp", "PSNR, dB", "SSIM", "MS-SSIM")
    heads = ["codec", *(f"{name}, {measure}" for name in sets for measure in measures), "training steps"]
    others = {row.name: row for row in board.calibration.rows}
    lines = [heads, ["---"] * len(heads)]
    for row in board.rows:
        if row.name in codecs:
            steps = f"{run.variants[row.name].step:,}" if row.name in run.variants else ""
            label = f"`{row.name}`" + (" (interpolated)" if row.around_target else "")
            lines.append([label, *_cells(row), *_cells(others[row.name]), steps])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_figures(page: str) -> str:
    """A page with the tables of today's results/ between its markers."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{figures(found[2].split())}\n\n{found[3]}", page)


def _cells(row: LossyRow) -> list[str]:
    figures = ((row.bpp, ".4f"), (row.psnr_db, ".2f"), (row.ssim, ".4f"), (row.ms_ssim, ".4f"))
    return ["" if value is None else format(value, spec) for value, spec in figures]


def main() -> None:
    """Renew the tables of every page."""
    for path in sorted(PAGES.glob("*.md")):
        write_bytes(path, with_figures(path.read_text()).encode())
    console.print(f"figures: tables of {PAGES}")


if __name__ == "__main__":
    guarded(main)
