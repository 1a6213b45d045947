"""The report's plots with their captions, from its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from matplotlib.figure import Figure

from pipeline.documents import LatentMaps, PrefixCurve
from pipeline.reporting import plots
from pipeline.reporting.inputs import ReportInputs, original, rates_of_picture, rd_points
from pipeline.reporting.maps import CAPTION, map_plot
from pipeline.reporting.page import Plot
from pipeline.reporting.published import published
from pipeline.reporting.rate_distortion import QUANTITIES, Metric, RdPoint, rd_plot
from pipeline.reporting.style import inline_svg

METRICS: dict[Metric, str] = {"psnr_db": "rd_psnr.png", "ms_ssim": "rd_ms_ssim.png"}
"""Quality -> file of its plot over the rate."""
RATE_CAPTION = (
    "{quantity} over rate on {test_set}, means over its pictures. Filled dots: at the target rate on this set. Hollow "
    "dots: as calibrated on {calibration_set}. Lines: other rates of the same checkpoint or classic codec.{source}"
)


Illustration = TypeVar("Illustration", PrefixCurve, LatentMaps)


@dataclass(frozen=True)
class Drawing:
    """A plot with its caption.

    Attributes:
        file: Name of its PNG file beside the page; None for a plot that the page alone has.
        figure: The plot.
        caption: The sentences below it.
    """

    file: str | None
    figure: Figure
    caption: str

    def plot(self) -> Plot:
        """The plot for the page."""
        return Plot(inline_svg(self.figure), self.caption)


def rate_drawings(inputs: ReportInputs) -> list[Drawing]:
    """Quality over rate by both metrics on every set, the leaderboard's first, whose plots are files too."""
    board, points = inputs.board, rd_points(inputs.evaluations)
    test_sets = {board.test_set: None} | {point.test_set: None for point in points}
    return [_rate_drawing(inputs, points, test_set, metric) for test_set in test_sets for metric in METRICS]


def _rate_drawing(inputs: ReportInputs, points: list[RdPoint], test_set: str, metric: Metric) -> Drawing:
    board, known = inputs.board, published(test_set)
    here = [point for point in points if point.test_set == test_set]
    caption = RATE_CAPTION.format(
        quantity=QUANTITIES[metric].removesuffix(", dB"),
        test_set=test_set,
        calibration_set=board.calibration.test_set,
        source=f" Thin lines: {known.source}." if known else "",
    )
    figure = rd_plot(here, known.curves if known else {}, metric, board.target_bpp, board.winner)
    return Drawing(METRICS[metric] if test_set == board.test_set else None, figure, caption)


def search_drawing(inputs: ReportInputs) -> Drawing:
    """The search for the target rate."""
    return Drawing("lambda_search.png", plots.lambda_search_plot(inputs.calibrations), plots.SEARCH_CAPTION)


def training_drawing(inputs: ReportInputs) -> Drawing:
    """The validations of all trainings."""
    figure = plots.training_plot(inputs.histories, inputs.board.target_bpp, inputs.learned_lossless)
    return Drawing("training.png", figure, plots.TRAINING_CAPTION)


def prefix_drawing(inputs: ReportInputs) -> Drawing | None:
    """Quality over the first bytes of a file; None without a learned progressive codec."""
    curves = inputs.prefix_curves
    kinds = {name: evaluation.kind for name, evaluation in inputs.evaluations.items()}
    if not any(kinds[name] == "learned" for name in curves):
        return None
    image, board = _first(curves).image, inputs.board
    others = rates_of_picture(inputs.root, inputs.evaluations, board.test_set, image)
    violations = ", ".join(f"{name} {curve.violations}" for name, curve in curves.items())
    caption = plots.PREFIX_CAPTION.format(image=image, violations=violations)
    return Drawing("prefixes.png", plots.prefix_plot(curves, kinds, others, board.target_bpp), caption)


def map_drawing(inputs: ReportInputs) -> Drawing | None:
    """Maps of learned codecs over one picture; None without such maps."""
    if not inputs.latent_maps:
        return None
    image = _first(inputs.latent_maps).image
    picture = original(inputs.root, inputs.board.test_set, image)
    return Drawing("maps.png", map_plot(picture, inputs.latent_maps), CAPTION.format(image=image))


def _first(found: Mapping[str, Illustration]) -> Illustration:
    """One of several codecs' illustrations, which all are of the first picture of the test set."""
    return next(iter(found.values()))
