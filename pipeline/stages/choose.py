"""The stage `choose`: all evaluations ranked at the target rate into leaderboard.json."""

from pathlib import Path
from typing import Any

from components.errors import RatewrightError
from components.files import read_json, write_json
from components.selection import rank, winner
from pipeline import params
from pipeline.console import console
from pipeline.entry import stage
from pipeline.layout import Layout

FIGURES = ("bpp", "psnr_db", "ssim", "ms_ssim", "encode_s_per_mpx", "decode_s_per_mpx")
COSTS = ("parameters", "encoder_kmac_per_px", "decoder_kmac_per_px", "peak_mb")


def run(root: Path) -> None:
    """Rank every variant and baseline of the params on the test set."""
    settings, layout = params.load(root), Layout(root)
    test_set, metric = settings.data.test, settings.selection.metric
    found = [read_json(layout.metrics(name)) for name in (*settings.all_variants, *settings.baselines)]
    hashes = {metrics["test_set_sha256"][test_set] for metrics in found}
    if len(hashes) > 1:
        raise RatewrightError(f"the evaluations saw different versions of {test_set}; run `dvc repro evaluate`")
    rows = rank([_row(metrics, test_set) for metrics in found], metric)
    best, why = winner(rows, metric, settings.target_bpp)
    leaderboard = {
        "target_bpp": settings.target_bpp,
        "test_set": test_set,
        "test_set_sha256": hashes.pop() if hashes else None,
        "metric": metric,
        "rows": rows,
        "winner": best,
        "why": why,
    }
    write_json(layout.leaderboard, leaderboard)
    console.print(f"choose: {why}, {layout.leaderboard}")


def _row(metrics: dict[str, Any], test_set: str) -> dict[str, Any]:
    """A codec's figures at the target; null with the reason where it has none."""
    points = metrics["test_sets"][test_set]
    point = points["at_target"]
    row = {"name": metrics["name"], "kind": metrics["kind"]}
    for field in FIGURES:
        row[field] = None if point is None else point[field]
        if row[field] is None:
            row[f"{field}_why"] = points.get("at_target_why") if point is None else point.get(f"{field}_why")
    for field in COSTS:
        row[field] = metrics[field]
        if f"{field}_why" in metrics:
            row[f"{field}_why"] = metrics[f"{field}_why"]
    return row


if __name__ == "__main__":
    stage(run)
