"""The plot of quality over rate: published curves as lines, measured codecs as points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.documents.base import Kind
from pipeline.reporting.style import BASELINE, LEARNED, PAPER, RULE, SOFT, STYLE, WIDTH

Metric = Literal["psnr_db", "ms_ssim"]
PublishedCurve = Mapping[str, Sequence[float | None]]
"""`bpp`, `psnr_db`, `ms_ssim`: lists of one length; None where the source has no figure."""

QUANTITIES = {"psnr_db": "PSNR, dB", "ms_ssim": "MS-SSIM"}
DRAWN = {
    "JPEG (Pillow 7.1.2)": "JPEG",
    "JPEG 2000 (ffmpeg 3.4)": "JPEG 2000 (ffmpeg)",
    "WebP": "WebP",
    "BPG 4:4:4": "BPG",
    "AV1": "AV1",
    "VVC VTM": "VTM",
    "bmshj2018-factorized (MSE)": "bmshj2018-factorized",
    "bmshj2018-hyperprior (MSE)": "bmshj2018-hyperprior",
    "mbt2018-mean (MSE)": "mbt2018-mean",
    "cheng2020-attn (MSE)": "cheng2020-attn",
}
"""Published codec -> its label; the others would only crowd the plot."""


@dataclass(frozen=True)
class RdPoint:
    """Rate and quality of a codec on one set.

    Attributes:
        codec: Its name.
        kind: `learned` or `baseline`.
        test_set: Name of the set.
        point: `as_calibrated`, `at_target`, or `curve` for a rate around the target.
        bpp: Rate in bits per pixel.
        psnr_db: Mean PSNR in dB; None where it does not exist.
        ms_ssim: Mean MS-SSIM; None where it was not measured.
    """

    codec: str
    kind: Kind
    test_set: str
    point: Literal["as_calibrated", "at_target", "curve"]
    bpp: float
    psnr_db: float | None
    ms_ssim: float | None


@rc_context(STYLE)
def rd_plot(
    points: Sequence[RdPoint],
    published: Mapping[str, PublishedCurve],
    metric: Metric,
    target_bpp: float,
    winner: str | None = None,
) -> Figure:
    """Plot quality over rate on one test set: published curves as thin lines, measured codecs as points.

    Filled points are at the target rate on this set, hollow ones as calibrated on the calibration set. A line joins all
    rates of one codec. Points beyond two and a half times the target are left out.

    Args:
        points: Measured codecs, the best first.
        published: Codec -> its published curve.
        metric: The quality.
        target_bpp: Target rate in bits per pixel, drawn as a dashed line.
        winner: The codec whose point is drawn larger.
    """
    left, right = 0.7 * target_bpp, 2.5 * target_bpp
    shown = [p for p in points if p.bpp <= right and getattr(p, metric) is not None]
    curves = {DRAWN[name]: _clipped(curve, metric, left, right) for name, curve in published.items() if name in DRAWN}
    curves = {name: curve for name, curve in curves.items() if len(curve[0]) > 1}

    figure = Figure(figsize=(WIDTH, 5.6))
    axes = figure.add_axes((0.06, 0.095, 0.76, 0.84))
    values = [getattr(p, metric) for p in shown] + [v for _, ys in curves.values() for v in ys]
    _scales(axes, values, right, target_bpp, QUANTITIES[metric])
    for xs, ys in curves.values():
        axes.plot(xs, ys, color=SOFT, linewidth=0.8, alpha=0.65, zorder=1)
    ends = {name: (float(xs[-1]), float(ys[-1])) for name, (xs, ys) in curves.items()}
    _labels_right(axes, ends, right)
    _measured(axes, shown, metric, target_bpp, winner)
    _rd_legend(axes, shown, bool(curves))
    return figure


def _scales(axes: Axes, values: Sequence[float], right: float, target_bpp: float, quantity: str) -> None:
    """Set both scales so that all values have room, and draw the target."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    axes.set(xlim=(0, right), ylim=(low - margin, high + margin), xlabel="bits per pixel", ylabel=quantity)
    axes.tick_params(length=3)
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    axes.axvline(target_bpp, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"target {target_bpp:g} bpp", (target_bpp, 1), (0, 5), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="center", color=SOFT,
    )  # fmt: skip


def _clipped(curve: PublishedCurve, metric: Metric, left: float, right: float) -> tuple[list[float], list[float]]:
    """The curve between two rates; its ends are interpolated on log rate, where it is nearly straight."""
    known = sorted((b, v) for b, v in zip(curve["bpp"], curve[metric], strict=True) if v is not None)
    if not known:
        return [], []
    bpp, values = (np.array(column) for column in zip(*known, strict=True))
    edges = [max(left, bpp[0]), min(right, bpp[-1])]
    xs = np.unique([*edges, *bpp[(bpp > edges[0]) & (bpp < edges[1])]]) if edges[0] < edges[1] else np.array([])
    return xs.tolist(), np.interp(np.log(xs), np.log(bpp), values).tolist()


def _spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near to `wanted` as a gap between neighbours allows, inside [low, high]."""
    order = np.argsort(wanted, kind="stable")
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    placed = np.array(wanted, dtype=float)[order]
    steps = gap * np.arange(len(placed))
    # Without the steps, "a gap apart" is "not decreasing": pool neighbours that overlap, centre each pool.
    pools: list[list[float]] = []
    for value in placed - steps:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools]) if pools else placed
    positions = np.empty(len(placed))
    positions[order] = np.clip(level, low, high - (steps[-1] if len(steps) else 0)) + steps
    return [float(position) for position in positions]


def _label_heights(axes: Axes, values: Sequence[float]) -> list[float]:
    """Heights, in data, where one line of text per value has room."""
    bottom, top = axes.get_ylim()
    inches = axes.get_position().height * axes.get_figure(root=True).get_size_inches()[1]  # type: ignore[union-attr]
    line = 11.0 / 72 / inches * (top - bottom)
    return _spread(values, line, bottom + line / 2, top - line / 2)


def _labels_right(axes: Axes, ends: Mapping[str, tuple[float, float]], right: float) -> None:
    """Name the published curves beside the plot, each joined to its end."""
    heights = _label_heights(axes, [y for _, y in ends.values()])
    for (name, (x, y)), height in zip(ends.items(), heights, strict=True):
        axes.plot(
            [x, 1.012 * right, 1.025 * right],
            [y, height, height],
            color=SOFT,
            linewidth=0.5,
            alpha=0.5,
            clip_on=False,
        )
        axes.text(1.03 * right, height, name, color=SOFT, size=8, va="center")


def _measured(axes: Axes, points: Sequence[RdPoint], metric: Metric, target_bpp: float, winner: str | None) -> None:
    """Draw the measured codecs, named in a column at the left."""
    by_codec: dict[str, list[RdPoint]] = {}
    for point in points:
        by_codec.setdefault(point.codec, []).append(point)
    main = [one for found in by_codec.values() if (one := _main_point(found)) is not None]
    heights = _label_heights(axes, [getattr(one, metric) for one in main])
    for one, height in zip(main, heights, strict=True):
        _draw_codec(axes, by_codec[one.codec], metric, won=one.codec == winner)
        _label_left(axes, one, height, metric, target_bpp, bold=one.codec == winner)


def _main_point(points: Sequence[RdPoint]) -> RdPoint | None:
    """The point that stands for a codec: at the target, else as calibrated; None where the plot shows neither."""
    by_label = {point.point: point for point in points}
    return by_label.get("at_target") or by_label.get("as_calibrated")


def _draw_codec(axes: Axes, points: Sequence[RdPoint], metric: Metric, *, won: bool) -> None:
    """Draw a line through all rates of one codec, and its two main points."""
    colour = _colour(points[0].kind)
    rates = sorted((point.bpp, getattr(point, metric)) for point in points)
    axes.plot(*zip(*rates, strict=True), color=colour, linewidth=0.9, alpha=0.5)
    by_label = {point.point: (point.bpp, getattr(point, metric)) for point in points}
    hollow = by_label.get("as_calibrated") or by_label["at_target"]
    axes.plot(*hollow, "o", markersize=5.5, mfc=PAPER, mec=colour, zorder=3)
    if filled := by_label.get("at_target"):
        axes.plot(*filled, "o", markersize=9 if won else 6.5, mfc=colour, mec=PAPER, mew=0.8, zorder=4)


def _label_left(axes: Axes, point: RdPoint, height: float, metric: Metric, target_bpp: float, *, bold: bool) -> None:
    """Name a codec at the left, with its quality, and join the name to its point."""
    colour, value = _colour(point.kind), getattr(point, metric)
    line = [0.6 * target_bpp, 0.64 * target_bpp, point.bpp], [height, height, value]
    axes.plot(*line, color=colour, linewidth=0.5, alpha=0.6)
    figure = f"{value:.2f}" if metric == "psnr_db" else f"{value:.4f}"
    axes.text(
        0.58 * target_bpp, height, f"{point.codec}  {figure}", color=colour, size=8,
        ha="right", va="center", weight="bold" if bold else "normal",
    )  # fmt: skip


def _rd_legend(axes: Axes, points: Sequence[RdPoint], with_published: bool) -> None:
    def dot(colour: str, face: str, label: str) -> Line2D:
        return Line2D([], [], marker="o", linestyle="none", markersize=5.5, mec=colour, mfc=face, label=label)

    handles = [
        dot(LEARNED, LEARNED, "learned, at the target rate"),
        dot(LEARNED, PAPER, "as calibrated"),
        dot(BASELINE, BASELINE, "baseline, at the target rate"),
    ]
    if not any(point.kind == "baseline" for point in points):
        handles.pop()
    if with_published:
        handles.append(Line2D([], [], color=SOFT, linewidth=0.8, alpha=0.65, label="published curves"))
    axes.legend(handles=handles, loc="lower right", labelcolor=SOFT, borderaxespad=0.8)


def _colour(kind: str) -> str:
    return BASELINE if kind == "baseline" else LEARNED
