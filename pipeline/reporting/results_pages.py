"""The tables and plots of README and docs/results.md, drawn from the runs that results/ keeps.

python -m pipeline.reporting.results_pages --write     # the tables, the plots and the photograph at equal rate, anew
python -m pipeline.reporting.results_pages --check     # whether runs agree, and pages have their tables
python -m pipeline.reporting.results_pages --record X  # what does not agree in results/X/, into its disagreements.json

What disagrees in a run is refused, unless the record in its folder excuses it: see `provenance`.
"""

import logging
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from matplotlib.figure import Figure

from components.errors import RatewrightError
from components.evaluation.results import pooled_psnr_db
from components.storage.atomic import write_bytes, write_json
from pipeline.documents import Leaderboard
from pipeline.documents.leaderboard import LossyRow
from pipeline.documents.run import Budget
from pipeline.paths import CHECKOUT, Layout
from pipeline.reporting import provenance
from pipeline.reporting.archive import CHAMPION, KeptRun, kept_runs
from pipeline.reporting.equal_rate import compare
from pipeline.reporting.evidence import WATTS_PER_CORE, core_hours, kilowatt_hours
from pipeline.reporting.inputs import rd_points
from pipeline.reporting.plots import training_plot
from pipeline.reporting.published import published
from pipeline.reporting.rate_distortion import Metric, rd_plot
from pipeline.reporting.style import png
from pipeline.terminal import guarded

SUMMARY_LEARNED = 3
"""Learned codecs in README's table, the best ones, beside the classic ones."""
EQUAL_RATE = "equal_rate"
"""Name of the photograph's drawing and of its figures in a kept run."""
METRICS: tuple[Metric, ...] = ("psnr_db", "ms_ssim")
"""Qualities that are plotted."""
PERCEPTUAL = {"SSIMULACRA 2": ("ssimulacra2", ".1f"), "PSNR-HVS-M, dB": ("psnr_hvs_m_db", ".2f")}
"""Heading -> field and number format of the figures that a run has since they are measured."""
TRAINING = "training.png"
"""Name of the plot of the trainings' validations."""

logger = logging.getLogger(__name__)


def summary(kept: KeptRun) -> str:
    """README's table: the classic codecs and the best learned ones, both sets at the target rate."""
    first, second = kept.test_sets
    heads = ["codec", f"{first}, PSNR dB", "MS-SSIM", f"{second}, PSNR dB", "MS-SSIM", "encode / decode, s"]
    learned = [row.name for row in kept.board.rows if row.kind == "learned"][:SUMMARY_LEARNED]
    lines = [
        [_label(kept, row), *_qualities(row), *_qualities(other), _seconds(row)]
        for row, other, _ in kept.rows()
        if row.kind != "learned" or row.name in learned
    ]
    starred = any(row.note for both in kept.rows() for row in both[:2])
    said = ["\\* interpolated to the rate, between two whole qualities."] if starred else []
    return _table(heads, lines) + _captions(said, kept)


def section(kept: KeptRun) -> str:
    """The section of docs/results.md: where it ran, every codec on both sets, costs, budgets, a plot."""
    first, second = kept.test_sets
    qualities = ["PSNR, dB", "PSNR of all pixels, dB", "MS-SSIM", *(PERCEPTUAL if _has_perceptual(kept) else {})]
    heads = ["codec", f"{first}, bpp", *qualities, "BD-rate, %", f"{second}, bpp", *qualities]
    heads += ["encode / decode, s per Mpx", "parameters", "steps", "minutes"]
    lines = []
    for row, other, budget in kept.rows():
        cells = [_label(kept, row), *_figures(kept, row, first), _shown(row.bd_rate_percent, "+.1f")]
        cells += [*_figures(kept, other, second), _seconds(row), _shown(row.parameters, ",")]
        lines.append([*cells, *_training(budget)])
    machine = kept.run.machine
    where = ", ".join((f"{machine.cores} cores of {machine.processor}", *machine.gpus))
    about = f"{_effort(kept)}{where}, torch {machine.torch}. {kept.board.why}."
    plot = f"![{first}: PSNR over rate](../results/{kept.folder.name}/{first}_psnr_db.png)\n"
    if kept.histories:
        plot += f"\n![Validations of each training](../results/{kept.folder.name}/{TRAINING})\n"
    said = [
        f"\\* {row.name} on {test_set}: {row.note}."
        for both in kept.rows()
        for test_set, row in zip(kept.test_sets, both[:2], strict=True)
        if row.note
    ]
    return f"{about}\n\n{_table(heads, lines)}{_captions(said, kept)}\n{_lossless(kept.board)}{plot}"


def _effort(kept: KeptRun) -> str:
    """Time and energy of all trainings together; empty where a time is not known."""
    known = [budget.training_s for budget in kept.run.variants.values() if budget.training_s is not None]
    if len(known) < len(kept.run.variants):
        return ""
    minutes = f"{sum(known) / 60:.0f} minutes of training in all"
    if kept.run.machine.gpus:
        return f"{minutes}; "
    hours = core_hours(sum(known), kept.parameters.get("threads", 1))
    energy = f"about {kilowatt_hours(hours):.2g} kWh at {WATTS_PER_CORE} W a core"
    return f"{minutes} ({hours:.1f} core-hours, {energy}); "


def _captions(said: list[str], kept: KeptRun) -> str:
    """Lines below a table, with what is known not to agree in the run; mostly empty."""
    known = provenance.sentence(kept)
    return "".join(f"\n{line}\n" for line in [*said, *([f"*{known}*"] if known else [])])


def _label(kept: KeptRun, row: LossyRow) -> str:
    """The codec's name, the winner's in bold."""
    return f"**{row.name}**" if row.name == kept.board.winner else row.name + (" \\*" if row.note else "")


def _table(heads: list[str], lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, ["---"] * len(heads), *lines))


def _qualities(row: LossyRow) -> list[str]:
    return [_shown(row.psnr_db, ".2f"), _shown(row.ms_ssim, ".4f")]


def _figures(kept: KeptRun, row: LossyRow, test_set: str) -> list[str]:
    """Rate and qualities of a codec on one set, the perceptual ones where the run has them."""
    psnr, ms_ssim = _qualities(row)
    shown = [_shown(row.bpp, ".4f"), psnr, _shown(_pooled_psnr_db(kept, row, test_set), ".2f"), ms_ssim]
    if _has_perceptual(kept):
        shown += [_shown(getattr(row, figure), spec) for figure, spec in PERCEPTUAL.values()]
    return shown


def _pooled_psnr_db(kept: KeptRun, row: LossyRow, test_set: str) -> float | None:
    """PSNR of all pixels together; of its pictures where the leaderboard is older than the figure."""
    if row.pooled_psnr_db is not None or row.bpp is None:
        return row.pooled_psnr_db
    found = [one for one in kept.images[row.name] if (one.test_set, one.point) == (test_set, "at_target")]
    return pooled_psnr_db((one.width * one.height, one.psnr_db) for one in found)


def _has_perceptual(kept: KeptRun) -> bool:
    """Whether the run is younger than the perceptual figures."""
    return any(getattr(row, figure) is not None for row in kept.board.rows for figure, _ in PERCEPTUAL.values())


def _seconds(row: LossyRow) -> str:
    return f"{_shown(row.encode_s_per_mpx, '.2f')} / {_shown(row.decode_s_per_mpx, '.2f')}"


def _training(budget: Budget | None) -> list[str]:
    """Steps and minutes of a variant's training; empty for a classic codec."""
    if budget is None:
        return ["", ""]
    minutes = None if budget.training_s is None else budget.training_s / 60
    return [f"{budget.step:,}" + (f" after {budget.start.variant}" if budget.start else ""), _shown(minutes, ".1f")]


def _lossless(board: Leaderboard) -> str:
    sizes = ", ".join(f"{row.name} {row.bpp:.2f}" for row in board.lossless)
    return f"Lossless on {board.test_set}, bits per pixel: {sizes}.\n\n" if sizes else ""


def _shown(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


def plots(kept: KeptRun) -> dict[str, Figure]:
    """File name -> a plot of the run: PSNR and MS-SSIM over rate, on both sets, and the trainings' validations."""
    points, drawn = rd_points(kept.evaluations), {}
    for test_set in kept.test_sets:
        known = published(test_set)
        here = [point for point in points if point.test_set == test_set]
        for metric in METRICS:
            curves = known.curves if known else {}
            figure = rd_plot(here, curves, metric, kept.board.target_bpp, kept.board.winner)
            drawn[f"{test_set}_{metric}.png"] = figure
    if kept.histories:
        lossless = [row.name for row in kept.board.lossless]
        drawn[TRAINING] = training_plot(kept.histories, kept.board.target_bpp, lossless)
    return drawn


PAGES: dict[str, Callable[[KeptRun], str]] = {"README.md": summary, "docs/results.md": section}
"""Page -> what it has between the markers of each run that it shows."""
SHORT_PAGES = {"README.md": "flagship"}
"""Page -> the one run that it shows; other pages show every kept run."""


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
        for file, figure in plots(run).items():
            write_bytes(run.folder / file, png(figure))
        if run.board.winner is not None:
            _write_equal_rate(run, run.board.winner)
        logger.info("results: plots in %s", run.folder)
    for page, content in PAGES.items():
        write_bytes(root / page, page_text(root / page, _shown_on(page, runs), content).encode())
        logger.info("results: tables of %s", root / page)


def _shown_on(page: str, runs: list[KeptRun]) -> list[KeptRun]:
    """The runs that a page shows."""
    return [run for run in runs if run.folder.name == SHORT_PAGES.get(page, run.folder.name)]


def _write_equal_rate(run: KeptRun, winner: str) -> None:
    found, drawing = compare(run.folder / CHAMPION, winner, run.board.target_bpp)
    write_json(run.folder / f"{EQUAL_RATE}.json", found.as_json())
    write_bytes(run.folder / f"{EQUAL_RATE}.png", png(drawing))


def check(root: Path) -> None:
    """Check every kept run, and the tables of both pages.

    Raises:
        RatewrightError: Two files of a run disagree, or a page has another line than results/ gives; both in one line.
    """
    runs = kept_runs(root)
    for run in runs:
        provenance.check(run)
    for page, content in PAGES.items():
        shown, current = (root / page).read_text(), page_text(root / page, _shown_on(page, runs), content)
        for has, gives in zip_longest(shown.splitlines(), current.splitlines()):
            if has != gives:
                said = f"it has {has!r}, results/ gives {gives!r}"
                raise RatewrightError(f"{root / page} is not current, run `make results` and commit it: {said}")


def main() -> None:
    """Write the pages and plots, check runs and pages, or write the record of a run."""
    match sys.argv[1:]:
        case ["--write"]:
            write(CHECKOUT)
        case ["--check"]:
            check(CHECKOUT)
        case ["--record", name]:
            provenance.record(KeptRun.read(Layout(CHECKOUT).results(name)))
        case _:
            raise RatewrightError("usage: python -m pipeline.reporting.results_pages --write | --check | --record NAME")


if __name__ == "__main__":
    guarded(main)
