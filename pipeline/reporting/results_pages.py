"""The tables and plots of README and docs/results.md, drawn from the runs that results/ keeps.

python -m pipeline.reporting.results_pages --write     # the tables, the plots and the photograph at equal rate, anew
python -m pipeline.reporting.results_pages --check     # whether both pages have the tables of today's results/
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from components.errors import RatewrightError
from components.storage.atomic import read_json, write_bytes, write_json
from pipeline.entry import console, guarded
from pipeline.paths import CHECKOUT
from pipeline.reporting.equal_rate import compare
from pipeline.reporting.inputs import rd_points
from pipeline.reporting.published import published
from pipeline.reporting.rate_distortion import rd_plot
from pipeline.reporting.style import png

SUMMARY_LEARNED = 3
"""Learned codecs in README's table, the best ones, beside the classic ones."""
EQUAL_RATE = "equal_rate"
"""Name of the photograph's drawing and of its figures in a kept run."""

Row = Mapping[str, Any]
_QUALITIES = (("psnr_db", ".2f"), ("ms_ssim", ".4f"))


@dataclass(frozen=True)
class KeptRun:
    """The figures of a run that results/ keeps.

    Attributes:
        folder: results/<name>.
        board: leaderboard.json.
        run: run.json: the machine, and what each variant was given.
    """

    folder: Path
    board: dict[str, Any]
    run: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "KeptRun":
        """The run kept in `folder`."""
        return cls(folder, read_json(folder / "leaderboard.json"), read_json(folder / "run.json"))

    @property
    def test_sets(self) -> tuple[str, str]:
        """The test set, and the calibration set, on which codecs are measured too."""
        return self.board["test_set"], self.board["calibration"]["test_set"]

    def rows(self) -> list[tuple[Row, Row, Row]]:
        """For each lossy codec, best first: its row on the test set, on the calibration set, and its budget."""
        calibration = {row["name"]: row for row in self.board["calibration"]["rows"]}
        budgets = self.run["variants"]
        return [(row, calibration[row["name"]], budgets.get(row["name"], {})) for row in self.board["rows"]]

    def label(self, row: Row) -> str:
        """The codec's name, the winner's in bold."""
        return f"**{row['name']}**" if row["name"] == self.board["winner"] else str(row["name"])


def summary(kept: KeptRun) -> str:
    """README's table: the classic codecs and the best learned ones, both sets at the target rate."""
    first, second = kept.test_sets
    heads = ["codec", f"{first}, PSNR dB", "MS-SSIM", f"{second}, PSNR dB", "MS-SSIM", "encode / decode, s"]
    learned = [row["name"] for row in kept.board["rows"] if row["kind"] == "learned"][:SUMMARY_LEARNED]
    lines = []
    for row, other, _ in kept.rows():
        if row["kind"] == "learned" and row["name"] not in learned:
            continue
        figures = [_shown(each, field, spec) for each in (row, other) for field, spec in _QUALITIES]
        lines.append([kept.label(row), *figures, _seconds(row)])
    return _table(heads, lines)


def section(kept: KeptRun) -> str:
    """The section of docs/results.md: what ran where, every codec on both sets, costs, budgets, a plot."""
    first, second = kept.test_sets
    heads = ["codec", f"{first}, bpp", "PSNR, dB", "MS-SSIM", "BD-rate, %", f"{second}, bpp", "PSNR, dB", "MS-SSIM"]
    heads += ["encode / decode, s per Mpx", "parameters", "steps", "minutes"]
    lines = []
    for row, other, budget in kept.rows():
        cells = [kept.label(row), *_figures(row), _shown(row, "bd_rate_percent", "+.1f"), *_figures(other)]
        lines.append([*cells, _seconds(row), _shown(row, "parameters", ","), _steps(budget), _minutes(budget)])
    machine, minutes = kept.run["machine"], sum(each["training_s"] or 0 for each in kept.run["variants"].values()) / 60
    where = f"{machine['cores']} cores of {machine['processor']}" + "".join(f", {gpu}" for gpu in machine["gpus"])
    about = f"{minutes:.0f} minutes of training in all; {where}, torch {machine['torch']}. {kept.board['why']}."
    plot = f"![{first}: PSNR over rate](../results/{kept.folder.name}/{first}_psnr_db.png)\n"
    return f"{about}\n\n{_table(heads, lines)}\n{_lossless(kept.board)}{plot}"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, ["---"] * len(heads), *lines))


def _figures(row: Row) -> list[str]:
    return [_shown(row, "bpp", ".4f"), *(_shown(row, field, spec) for field, spec in _QUALITIES)]


def _seconds(row: Row) -> str:
    return f"{_shown(row, 'encode_s_per_mpx', '.2f')} / {_shown(row, 'decode_s_per_mpx', '.2f')}"


def _lossless(board: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{row['name']} {row['bpp']:.2f}" for row in board["lossless"])
    return f"Lossless on {board['test_set']}, bits per pixel: {sizes}.\n\n" if sizes else ""


def _steps(budget: Mapping[str, Any]) -> str:
    start = budget.get("start")
    return _shown(budget, "step", ",") + (f" after {start['variant']}" if start else "")


def _minutes(budget: Mapping[str, Any]) -> str:
    seconds = budget.get("training_s")
    return "" if seconds is None else f"{seconds / 60:.1f}"


def _shown(row: Mapping[str, Any], field: str, spec: str) -> str:
    value = row.get(field)
    return "" if value is None else format(value, spec)


def plots(kept: Path) -> dict[str, Figure]:
    """File name -> the plots that a kept run's figures give."""
    board, evaluations = read_json(kept / "leaderboard.json"), read_json(kept / "evaluations.json")
    points, drawn = rd_points(evaluations), {}
    for test_set in (board["test_set"], board["calibration"]["test_set"]):
        known = published(test_set)
        here = [point for point in points if point.test_set == test_set]
        for metric in ("psnr_db", "ms_ssim"):
            figure = rd_plot(here, known.curves if known else {}, metric, board["target_bpp"], board["winner"])
            drawn[f"{test_set}_{metric}.png"] = figure
    return drawn


PAGES: dict[str, Callable[[KeptRun], str]] = {"README.md": summary, "docs/results.md": section}
"""Page -> what it has between the markers of each kept run."""


def kept_runs(root: Path) -> list[KeptRun]:
    """Every run that results/ keeps, by name."""
    return [KeptRun.read(path.parent) for path in sorted((root / "results").glob("*/leaderboard.json"))]


def page_text(path: Path, runs: list[KeptRun], content: Callable[[KeptRun], str]) -> str:
    """The page with the content of each run between its markers.

    Args:
        path: The page as it is.
        runs: What it shows.
        content: Gives the Markdown of one run.

    Raises:
        RatewrightError: The page lacks the markers of a run.
    """
    text = path.read_text()
    for run in runs:
        name = run.folder.name
        begin, end = f"<!-- results/{name} -->\n", f"<!-- end of results/{name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise RatewrightError(f"{path} has no place for results/{name}: {begin.strip()} and {end.strip()}")
        text = before + begin + "\n" + content(run) + "\n" + end + after
    return text


def write(root: Path) -> None:
    """Write the plots of each kept run, its photograph at equal rate, and the tables of all pages."""
    runs = kept_runs(root)
    for run in runs:
        for file, figure in plots(run.folder).items():
            write_bytes(run.folder / file, png(figure))
        if run.board["winner"] is not None:
            _write_equal_rate(run)
        console.print(f"results: plots in {run.folder}")
    for page, content in PAGES.items():
        write_bytes(root / page, page_text(root / page, runs, content).encode())
        console.print(f"results: tables of {root / page}")


def _write_equal_rate(run: KeptRun) -> None:
    model = run.folder / "champion.safetensors"
    found, drawing = compare(model, run.board["winner"], run.board["target_bpp"])
    write_json(run.folder / f"{EQUAL_RATE}.json", found.as_json())
    write_bytes(run.folder / f"{EQUAL_RATE}.png", png(drawing))


def check(root: Path) -> None:
    """Raise RatewrightError, which names the page, where one has other tables than results/ gives."""
    for page, content in PAGES.items():
        if (root / page).read_text() != page_text(root / page, kept_runs(root), content):
            raise RatewrightError(f"{root / page} is not current: run `make results` and commit it")


def main() -> None:
    """Write the pages and plots, or check the pages."""
    match sys.argv[1:]:
        case ["--write"]:
            write(CHECKOUT)
        case ["--check"]:
            check(CHECKOUT)
        case _:
            raise RatewrightError("usage: python -m pipeline.reporting.results_pages --write | --check")


if __name__ == "__main__":
    guarded(main)
