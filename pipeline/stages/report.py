"""The stage `report`: evaluations, leaderboard and published curves in, one HTML page out."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from components.storage.atomic import write_bytes, write_json
from pipeline.entry import console, stage
from pipeline.reporting import plots
from pipeline.reporting.inputs import (
    comparisons,
    document,
    latent_maps,
    picture_of,
    prefix_curves,
    rd_points,
    records,
    single_rates,
    strip,
)
from pipeline.reporting.maps import CAPTION, map_plot
from pipeline.reporting.page import Plot, ReportData, render
from pipeline.reporting.published import published
from pipeline.reporting.rate_distortion import QUANTITIES, Metric, RdPoint, rd_plot
from pipeline.reporting.style import inline_svg, png

FILES: dict[Metric, str] = {"psnr_db": "rd_psnr.png", "ms_ssim": "rd_ms_ssim.png"}


def run(root: Path) -> None:
    """Write `root/report/`; raises RatewrightError if an input is missing or cannot be read."""
    board = {"lossless": [], **document(root / "leaderboard.json")}
    names = [row["name"] for row in (*board["rows"], *board["lossless"])]
    evaluations = {name: document(root / "evaluation" / name / "metrics.json") for name in names}
    models = root / "models"
    trained = [name for name, found in evaluations.items() if found["kind"] == "learned"]
    lossless = [name for name, found in evaluations.items() if found["kind"] == "lossless" and found["parameters"]]
    points = rd_points(evaluations)
    rate_plots, figures = _rate_plots(points, board)
    search = plots.lambda_search_plot([document(models / name / "calibration.json") for name in trained])
    training = plots.training_plot(
        {name: records(models / name / "history.jsonl") for name in (*trained, *lossless)},
        board["target_bpp"],
        lossless,
    )
    curves = prefix_curves(root, evaluations, board["test_set"])
    prefixes = _prefix_plot(root, curves, evaluations, board)
    told = latent_maps(root, evaluations, board["test_set"])
    maps = _map_plot(root, told, board["test_set"])
    page = render(
        ReportData(
            leaderboard=board,
            evaluations=evaluations,
            rate_plots=rate_plots,
            comparisons=comparisons(root, evaluations, board["test_set"]),
            prefixes=Plot(inline_svg(prefixes), _prefix_caption(curves)) if prefixes else None,
            strips=[
                strip(root, name, board["test_set"], curve)
                for name, curve in curves.items()
                if evaluations[name]["kind"] == "learned"
            ],
            maps=Plot(inline_svg(maps), CAPTION.format(image=_image(told))) if maps else None,
            search=Plot(inline_svg(search), plots.SEARCH_CAPTION) if trained else None,
            training=Plot(inline_svg(training), plots.TRAINING_CAPTION) if trained or lossless else None,
        )
    )
    folder = root / "report"
    write_bytes(folder / "index.html", page.encode())
    rows = [asdict(point) for point in points]
    write_json(folder / "rd.json", [{key: row[key] for key in row if key != "kind"} for row in rows])
    figures |= {"lambda_search.png": search, "training.png": training}
    if prefixes:
        figures["prefixes.png"] = prefixes
    if maps:
        figures["maps.png"] = maps
    for name, figure in figures.items():
        write_bytes(folder / name, png(figure))
    console.print(f"report: [bold]{folder / 'index.html'}[/bold], beside it rd.json, {', '.join(figures)}")


def _prefix_plot(
    root: Path, curves: Mapping[str, Any], evaluations: Mapping[str, Any], board: Mapping[str, Any]
) -> Figure | None:
    """The curves over prefixes, if a learned codec has one."""
    kinds = {name: metrics["kind"] for name, metrics in evaluations.items()}
    if not any(kinds[name] == "learned" for name in curves):
        return None
    image = _image(curves)
    singles = single_rates(root, evaluations, board["test_set"], image)
    return plots.prefix_plot(curves, kinds, singles, board["target_bpp"])


def _map_plot(root: Path, told: Mapping[str, Any], test_set: str) -> Figure | None:
    """Where the bits of one picture went, if a codec tells."""
    if not told:
        return None
    return map_plot(picture_of(root, test_set, _image(told)), {name: found["maps"] for name, found in told.items()})


def _image(records: Mapping[str, Any]) -> str:
    """The picture that records of several codecs are of."""
    return str(next(iter(records.values()))["image"])


def _prefix_caption(curves: Mapping[str, Any]) -> str:
    image = _image(curves)
    worse = [f"{name} {curve['violations']}" for name, curve in curves.items()]
    return plots.PREFIX_CAPTION.format(image=image) + f" Prefixes worse than the one before: {', '.join(worse)}."


def _rate_plots(points: list[RdPoint], board: Mapping[str, Any]) -> tuple[list[Plot], dict[str, Figure]]:
    """Both metrics of every test set for the page, the leaderboard's set first, and that set's as files."""
    rate_plots, figures = [], {}
    test_sets = {board["test_set"]: None} | {point.test_set: None for point in points}
    for test_set in test_sets:
        known = published(test_set)
        shown = [point for point in points if point.test_set == test_set]
        for metric, file in FILES.items():
            figure = rd_plot(shown, known.curves if known else {}, metric, board["target_bpp"], board["winner"])
            source = f" Thin lines: {known.source}." if known else ""
            name = QUANTITIES[metric].removesuffix(", dB")
            rate_plots.append(Plot(inline_svg(figure), f"{name} over rate on {test_set}.{source}"))
            if test_set == board["test_set"]:
                figures[file] = figure
    return rate_plots, figures


if __name__ == "__main__":
    stage(run)
