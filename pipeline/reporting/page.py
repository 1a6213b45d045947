"""The report as one self-contained HTML page: no network, every picture inside, and a script for sliders alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.codecs.effort import DEFAULT_EFFORT
from components.evaluation.paired import FEW_PICTURES
from components.evaluation.results import RatePoint
from pipeline.documents import Evaluation, Leaderboard
from pipeline.documents.evaluation import SetResults
from pipeline.reporting.comparison import DETAIL, Comparison
from pipeline.reporting.differences import FromWinner
from pipeline.reporting.inputs import Evaluations


@dataclass(frozen=True)
class Plot:
    """An inline SVG and the sentences below it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows.

    Attributes:
        leaderboard: The ranking.
        evaluations: Codec -> its evaluation, best first, lossless codecs last.
        differences: Lossy codecs against the winner, picture by picture; None without a winner.
        rate_plots: Quality over rate.
        comparisons: Pictures as lossy codecs decode them at the target rate.
        prefixes: Quality over the first bytes of one file of each progressive codec.
        prefix_comparisons: A picture as it sharpens with the bytes that have arrived, of each progressive codec.
        maps: Maps of learned codecs over one picture.
        search: The search for the target rate.
        training: The validations of trainings.
    """

    leaderboard: Leaderboard
    evaluations: Evaluations
    differences: FromWinner | None
    rate_plots: Sequence[Plot]
    comparisons: Sequence[Comparison]
    prefixes: Plot | None
    prefix_comparisons: Sequence[Comparison]
    maps: Plot | None
    search: Plot | None
    training: Plot | None


def render(report: ReportData) -> str:
    """The HTML page."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {"figure": figure, "transform_share": transform_share, "at_efforts": at_efforts}
    environment.filters["svg"] = Markup
    board = report.leaderboard
    points = {name: _main_point(evaluation, board.test_set) for name, evaluation in report.evaluations.items()}
    winner = next((row for row in board.rows if row.name == board.winner), None)
    return environment.get_template("page.html").render(
        report=report,
        board=board,
        points=points,
        winner=winner,
        detail=DETAIL,
        slider=Markup((folder / "picture_slider.js").read_text()),
        few_pictures=FEW_PICTURES,
        transforms=_with_ceiling(report.evaluations),
    )


def figure(field: str, spec: str, record: object, why: str = "not measured") -> str | Markup:
    """A figure of a record as text.

    Args:
        field: Name of the record's attribute.
        spec: Format of the number.
        record: What has the figure; None where that does not exist.
        why: The reason for a missing figure, where the record has no `<field>_why`.

    Returns:
        The number; where there is none, a dash with the reason as its tooltip.
    """
    value = getattr(record, field, None)
    if value is not None:
        return format(value, spec)
    why = getattr(record, f"{field}_why", None) or why
    return Markup('<span class="none" tabindex="0" title="{0}" aria-label="none: {0}">&ndash;</span>').format(why)


def transform_share(results: SetResults) -> str | Markup:
    """Share of the squared error at the target rate that the transforms alone make, by the means of both PSNRs."""
    if results.ceiling_db is None or results.at_target is None or results.at_target.psnr_db is None:
        return figure("share", "", None, "the ceiling or the PSNR does not exist")
    return format(10 ** ((results.at_target.psnr_db - results.ceiling_db) / 10), ".0%")


def at_efforts(evaluation: Evaluation, test_set: str) -> list[tuple[int, RatePoint]]:
    """Effort and figures at the target rate, by effort, with those of the default one."""
    found: dict[int, RatePoint] = {point.effort: point for point in (evaluation.efforts or {}).get(test_set, ())}
    default = evaluation.test_sets[test_set].at_target
    if default is not None:
        found.setdefault(DEFAULT_EFFORT, default)
    return sorted(found.items())


def _with_ceiling(evaluations: Evaluations) -> Evaluations:
    """The codecs that have a ceiling on some set."""
    return {
        name: evaluation
        for name, evaluation in evaluations.items()
        if any(results.ceiling_db is not None for results in evaluation.test_sets.values())
    }


def _main_point(evaluation: Evaluation, test_set: str) -> RatePoint | None:
    """The codec at the target, or as calibrated where it has no such point."""
    results = evaluation.test_sets.get(test_set)
    return None if results is None else results.at_target or results.as_calibrated
