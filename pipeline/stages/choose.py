"""The stage `choose`: all evaluations ranked at the target rate into leaderboard.json, lossless ones beside them."""

from pathlib import Path
from typing import Any

from components.errors import RatewrightError
from components.evaluation.selection import Candidate, rank, winner
from components.metrics.bd_rate import bd_rate_percent
from components.storage.atomic import read_json, write_json
from pipeline.config import params
from pipeline.entry import console, stage
from pipeline.paths import Layout

FIGURES = ("bpp", "psnr_db", "ssim", "ms_ssim", "swd", "encode_s_per_mpx", "decode_s_per_mpx")
LOSSLESS_FIGURES = ("bpp", "encode_s_per_mpx", "decode_s_per_mpx")
ANCHOR = "jpeg2000"  # whose curve BD-rates are against
COSTS = ("parameters", "encoder_kmac_per_px", "decoder_kmac_per_px", "peak_mb")


def run(root: Path) -> None:
    """Rank every variant and baseline of the params on the test set: at the target, lossless ones by size."""
    settings, layout = params.load(root), Layout(root)
    test_set, calibration_set = settings.data.test, settings.data.calibration
    metric = settings.selection.metric
    found = [read_json(layout.metrics(name)) for name in (*settings.all_variants, *settings.baselines)]
    hashes = {key: _hash(found, key) for key in (test_set, calibration_set)}
    lossy = [metrics for metrics in found if metrics["kind"] != "lossless"]
    anchor = next((metrics["curve"][test_set] for metrics in lossy if metrics["name"] == ANCHOR), None)
    found_rows = [_row(metrics, test_set) | _bd_rate(metrics["curve"][test_set], anchor) for metrics in lossy]
    rows = _ranked(found_rows, metric)
    best, why = winner(_candidates(rows, metric), metric, settings.target_bpp)
    leaderboard = {
        "target_bpp": settings.target_bpp,
        "test_set": test_set,
        "test_set_sha256": hashes[test_set],
        "metric": metric,
        "rows": rows,
        "anchor": ANCHOR,
        "calibration": {
            "test_set": calibration_set,
            "test_set_sha256": hashes[calibration_set],
            "rows": _ranked([_row(metrics, calibration_set) for metrics in lossy], metric),
        },
        "lossless": _lossless([metrics for metrics in found if metrics["kind"] == "lossless"], test_set),
        "winner": best,
        "why": why,
    }
    write_json(layout.leaderboard, leaderboard)
    console.print(f"choose: {why}, {layout.leaderboard}")


def _hash(found: list[dict[str, Any]], test_set: str) -> str | None:
    hashes = {metrics["test_set_sha256"][test_set] for metrics in found}
    if len(hashes) > 1:
        raise RatewrightError(f"the evaluations saw different versions of {test_set}; run `dvc repro evaluate`")
    return hashes.pop() if hashes else None


def _row(metrics: dict[str, Any], test_set: str) -> dict[str, Any]:
    """A codec's figures at the target; null with the reason where it has none."""
    points = metrics["test_sets"][test_set]
    point = points["at_target"]
    row = {"name": metrics["name"], "kind": metrics["kind"]}
    for field in FIGURES:
        row[field] = None if point is None else point.get(field)
        if row[field] is None:
            row[f"{field}_why"] = points.get("at_target_why") if point is None else point.get(f"{field}_why")
    return row | _costs(metrics)


def _candidates(rows: list[dict[str, Any]], metric: str) -> list[Candidate]:
    return [Candidate(row["name"], row["kind"], row["bpp"], row[metric]) for row in rows]


def _ranked(rows: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    by_name = {row["name"]: row for row in rows}
    return [by_name[one.name] for one in rank(_candidates(rows, metric))]


def _bd_rate(curve: list[dict[str, Any]], anchor: list[dict[str, Any]] | None) -> dict[str, Any]:
    """BD-rate in per cent of one checkpoint's curve, and how many rates that has."""
    if anchor is None:
        return {"bd_rate_percent": None, "bd_rate_percent_why": f"{ANCHOR} is not among the baselines"}
    bpp, psnr = ([[point[key] for point in points] for points in (anchor, curve)] for key in ("bpp", "psnr_db"))
    percent = bd_rate_percent(bpp[0], psnr[0], bpp[1], psnr[1])
    if percent is not None:
        return {"bd_rate_percent": percent, "bd_rate_points": len(curve)}
    why = f"the curve, of {len(curve)} rates, is too short, falls, or is too far from {ANCHOR}'s"
    return {"bd_rate_percent": None, "bd_rate_percent_why": why}


def _lossless(found: list[dict[str, Any]], test_set: str) -> list[dict[str, Any]]:
    """The figures of lossless codecs, smallest first: also bits per colour sample, and the share of PNG's bytes."""
    points = {metrics["name"]: metrics["test_sets"][test_set]["as_calibrated"] for metrics in found}
    rows = []
    for metrics in found:
        point, png = points[metrics["name"]], points.get("png")
        row = {"name": metrics["name"], "kind": metrics["kind"], **{field: point[field] for field in LOSSLESS_FIGURES}}
        row["bits_per_sample"] = point["bpp"] / 3
        row["share_of_png"] = None if png is None else point["bytes"] / png["bytes"]
        if png is None:
            row["share_of_png_why"] = "png is not among the baselines"
        rows.append(row | _costs(metrics))
    return sorted(rows, key=lambda row: (row["bpp"], row["name"]))


def _costs(metrics: dict[str, Any]) -> dict[str, Any]:
    keys = (key for field in COSTS for key in (field, f"{field}_why"))
    return {key: metrics[key] for key in keys if key in metrics}


if __name__ == "__main__":
    stage(run)
