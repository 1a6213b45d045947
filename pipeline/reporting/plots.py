"""The plots of how codecs were made: the search for the target rate, training curves, quality over first bytes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from components.training.callback import Validation
from pipeline.documents import Calibration, PrefixCurve
from pipeline.documents.base import Kind
from pipeline.reporting.rate_distortion import RdPoint
from pipeline.reporting.style import BASELINE, LEARNED, SOFT, STYLE, WIDTH

PHASES = {
    "training": ("in training", ".", SOFT, 5.0),
    "fine_tune": ("after a fine-tune", "o", LEARNED, 5.0),
    "gain_search": ("search of the quantiser step", "D", BASELINE, 4.0),
}
"""Phase of a calibration -> label, marker, colour, size in points."""
QUANTITIES = {
    "val_loss": "validation loss",
    "val_psnr_db": "PSNR, dB",
    "val_bpp_estimated": "estimated bpp (dots: real)",
    "lmbda": "λ",
}
"""Field of a validation -> title of its column."""
SEARCH_CAPTION = (
    "Rate in real bytes over λ, both in logarithms. λ weighs rate against distortion in a codec's loss; it means "
    "something else in each codec, so only the rates compare. The dashed line is the target, the band its tolerance. "
    "Small dots: in training, while λ is controlled. Circles: after a fine-tune at another λ. Diamonds: in the search "
    "of the quantiser step, without training. A codec without λ is drawn over the number of the trial."
)
PREFIX_CAPTION = (
    "PSNR of {image} over the bytes that have arrived: one file of each progressive codec, cut to many sizes, and one "
    "JPEG 2000 file after each of its quality layers. Dots: files of codecs with one rate, at the target rate of the "
    "whole set. Sizes that give a worse picture than the smaller size before: {violations}."
)
TRAINING_CAPTION = (
    "Validations of each training over its steps. Each panel has its own scale, with its extremes at the left and its "
    "last value at the right: losses and λ follow each paper's convention and do not compare. The dashed line is the "
    "target rate. Rates are estimates of the entropy model, except for the dots: real bytes of calibration pictures."
)


@rc_context(STYLE)
def lambda_search_plot(calibrations: Sequence[Calibration]) -> Figure:
    """Plot real rate over lambda, both in logarithms, one panel per codec, with the target and its tolerance.

    Lambda means something else in each codec, so the panels share the rate and not lambda. A codec whose rate lambda
    does not move is drawn over the number of the trial.
    """
    columns = 4
    rows = max(1, -(-len(calibrations) // columns))
    height = 0.75 + 1.75 * rows
    figure = Figure(figsize=(WIDTH, height))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.055, right=0.99, top=1 - 0.62 / height, bottom=0.4 / height, hspace=0.55, wspace=0.12)
    for axes, calibration in zip(panels.flat, calibrations, strict=False):
        _search(axes, calibration)
    for axes in panels.flat[len(calibrations) :]:
        axes.set_visible(False)
    figure.text(0.012, 1 - 0.2 / height, "bits per pixel, real bytes", color=SOFT, va="center")
    handles = [
        Line2D([], [], marker=marker, color=colour, markersize=size, linestyle="none", label=label)
        for label, marker, colour, size in PHASES.values()
    ]
    figure.legend(handles=handles, ncols=3, loc="upper right", borderaxespad=0.3, labelcolor=SOFT)
    return figure


@rc_context(STYLE)
def training_plot(
    histories: Mapping[str, Sequence[Validation]], target_bpp: float, lossless: Collection[str] = ()
) -> Figure:
    """Plot validation loss, PSNR, estimated rate and lambda over the steps, one row per codec.

    Losses and lambdas follow each paper's convention and do not compare, so every panel has its own scale, with its
    extremes at the left and its last value at the right. Dots are rates in real bytes.

    Args:
        histories: Codec -> its validations.
        target_bpp: Target rate in bits per pixel.
        lossless: Codecs that have neither a target nor a PSNR.
    """
    rows = max(1, len(histories))
    height = 0.4 + 0.62 * rows
    figure = Figure(figsize=(WIDTH, height))
    panels = figure.subplots(rows, len(QUANTITIES), squeeze=False)
    figure.subplots_adjust(
        left=0.165, right=0.945, top=1 - 0.38 / height, bottom=0.12 / height, hspace=0.45, wspace=0.62
    )
    for axes, title in zip(panels[0], QUANTITIES.values(), strict=True):
        axes.annotate(title, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", color=SOFT)
    for row, (name, history) in zip(panels, histories.items(), strict=False):
        steps = max((validation.step for validation in history), default=0)
        middle = row[0].get_position().y0 + row[0].get_position().height / 2
        figure.text(0.005, middle, f"{name}\n", va="center")
        figure.text(0.005, middle, f"\n{steps:,} steps", va="center", color=SOFT, size=7.5)
        for axes, field in zip(row, QUANTITIES, strict=True):
            _sparkline(axes, [] if field == "val_psnr_db" and name in lossless else history, field)
        _series(row[2], history, "calibration_bpp", linestyle="none", marker=".", markersize=4, color=BASELINE)
        if name not in lossless:
            row[2].axhline(target_bpp, color=SOFT, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    return figure


@rc_context(STYLE)
def prefix_plot(
    curves: Mapping[str, PrefixCurve], kinds: Mapping[str, Kind], others: Sequence[RdPoint], target_bpp: float
) -> Figure:
    """Plot PSNR over the rate of a file's first bytes, in its logarithm.

    Args:
        curves: Progressive codec -> quality over the first bytes of one picture's file.
        kinds: Codec -> its kind, which sets the colour.
        others: Rate and PSNR of the same picture in codecs whose files cannot be cut.
        target_bpp: Target rate in bits per pixel.
    """
    figure = Figure(figsize=(WIDTH, 4.2))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.045, right=0.86, top=0.93, bottom=0.09)
    colours = {"learned": LEARNED, "baseline": BASELINE, "lossless": SOFT}
    for name, curve in curves.items():
        known = [(point.bpp, point.psnr_db) for point in curve.points if point.psnr_db is not None]
        axes.plot(*zip(*known, strict=True), color=colours[kinds[name]], linewidth=1.4)
        axes.annotate(name, known[-1], (6, 0), textcoords="offset points", va="center", color=colours[kinds[name]])
    for point in others:
        if point.codec in curves or point.psnr_db is None:
            continue
        at = point.bpp, point.psnr_db
        axes.plot(*at, ".", color=colours[point.kind], markersize=5)
        axes.annotate(point.codec, at, (4, 0), textcoords="offset points", va="center", size=7)
    axes.axvline(target_bpp, color=SOFT, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("bits per pixel")
    axes.set_title("PSNR, dB")
    return figure


def _search(axes: Axes, calibration: Calibration) -> None:
    """Draw the trials of one codec over lambda, or over their numbers."""
    trials = [trial for trial in calibration.history if trial.bpp]
    lambdas = [trial.lmbda for trial in trials if trial.lmbda]
    over_lambda = bool(trials) and len(lambdas) == len(trials)
    xs = lambdas if over_lambda else [float(number) for number in range(1, len(trials) + 1)]
    if calibration.target_bpp is not None and calibration.tolerance is not None:
        lowest = (1 - calibration.tolerance) * calibration.target_bpp
        axes.axhspan(lowest, calibration.target_bpp, color=LEARNED, alpha=0.18, linewidth=0)
        axes.axhline(calibration.target_bpp, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(xs, [trial.bpp for trial in trials], color=SOFT, linewidth=0.6, alpha=0.6)
    for phase, (_, marker, colour, size) in PHASES.items():
        chosen = [(x, trial.bpp) for x, trial in zip(xs, trials, strict=True) if trial.phase == phase]
        axes.plot([x for x, _ in chosen], [y for _, y in chosen], marker, color=colour, markersize=size, mew=0)
    axes.set_title(calibration.name)
    axes.set_yscale("log")
    axes.yaxis.set(major_locator=LogLocator(subs=(1, 1.5, 2, 3, 5)), minor_locator=NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _label_ends(axes, xs, "λ" if over_lambda else "trial")
    axes.tick_params(length=3, labelsize=7.5)


def _label_ends(axes: Axes, xs: Sequence[float], label: str) -> None:
    """Label the smallest and the largest x alone; lambda is drawn in its logarithm."""
    if xs and label == "λ":
        axes.set_xscale("log")
        margin = max(max(xs) / min(xs), 1.01) ** 0.08
        axes.set_xlim(min(xs) / margin, max(xs) * margin)
    axes.xaxis.set(minor_locator=NullLocator())
    if xs:
        ends = sorted({min(xs), max(xs)})
        axes.set_xticks(ends, [f"{label} {end:.3g}" for end in ends])
        # The outer labels run inwards, so that those of neighbouring panels stay apart.
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
        axes.get_xticklabels()[0].set_horizontalalignment("left")


def _series(axes: Axes, history: Sequence[Validation], field: str, **style: Any) -> list[float]:
    """Draw `field` over the steps where it is known; returns its values."""
    known = [(row.step, getattr(row, field)) for row in history if getattr(row, field) is not None]
    axes.plot([step for step, _ in known], [value for _, value in known], **style)
    return [float(value) for _, value in known]


def _sparkline(axes: Axes, history: Sequence[Validation], field: str) -> None:
    """A small curve with its extremes at the left and its last value at the right."""
    values = _series(axes, history, field, color=LEARNED, linewidth=1.1)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([])
    if not values:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=SOFT)
        return
    ends = sorted({min(values), max(values)})
    axes.set_yticks(ends, [f"{end:.3g}" for end in ends])
    axes.tick_params(length=0, labelsize=6.5)
    axes.annotate(
        f"{values[-1]:.3g}", (1, values[-1]), (3, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", va="center", size=8,
    )  # fmt: skip
