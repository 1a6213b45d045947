"""The stage `choose`: every codec ranked at the target rate into leaderboard.json, lossless codecs apart."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from components.errors import RatewrightError
from components.evaluation.selection import Candidate, rank, winner
from components.metrics.bd_rate import bd_rate_percent
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.documents import Evaluation, Leaderboard, read, write
from pipeline.documents.evaluation import Ceiling, Costs, CurvePoint
from pipeline.documents.leaderboard import CalibrationRanking, FiguresAtTarget, LosslessRow, LossyRow, RankedRow
from pipeline.entry import stage
from pipeline.paths import Layout

ANCHOR = "jpeg2000"
"""The codec whose curve BD-rates are against."""

logger = logging.getLogger(__name__)

Row = TypeVar("Row", bound=LossyRow)
Curve = Sequence[CurvePoint]


def run(root: Path) -> None:
    """Rank every variant and baseline of params.yaml, and write leaderboard.json."""
    settings, layout = params.load(root), Layout(root)
    names = (*settings.all_variants, *settings.baselines)
    leaderboard = ranking([read(Evaluation, layout.metrics(name)) for name in names], settings)
    write(leaderboard, layout.leaderboard)
    logger.info("choose: %s, %s", leaderboard.why, layout.leaderboard)


def ranking(evaluations: Sequence[Evaluation], settings: Params) -> Leaderboard:
    """The leaderboard of all codecs that were evaluated.

    Raises:
        RatewrightError: The codecs were evaluated on different pictures.
    """
    test_set, calibration_set, metric = settings.data.test, settings.data.calibration, settings.selection.metric
    lossy = [evaluation for evaluation in evaluations if evaluation.kind != "lossless"]
    anchor = next((evaluation.curve[test_set] for evaluation in lossy if evaluation.name == ANCHOR), None)
    rows = ranked([_ranked_row(evaluation, test_set, anchor) for evaluation in lossy], metric)
    best, why = winner([_candidate(row, metric) for row in rows], metric, settings.target_bpp)
    return Leaderboard(
        target_bpp=settings.target_bpp,
        test_set=test_set,
        test_set_sha256=_common_hash(evaluations, test_set),
        metric=metric,
        rows=tuple(rows),
        anchor=ANCHOR,
        calibration=CalibrationRanking(
            test_set=calibration_set,
            test_set_sha256=_common_hash(evaluations, calibration_set),
            rows=tuple(ranked([LossyRow(**_lossy(evaluation, calibration_set)) for evaluation in lossy], metric)),
        ),
        lossless=tuple(_lossless_rows([one for one in evaluations if one.kind == "lossless"], test_set)),
        winner=best,
        why=why,
    )


def ranked(rows: Sequence[Row], metric: str) -> list[Row]:
    """The rows, best first by a figure of which larger is better."""
    by_name = {row.name: row for row in rows}
    return [by_name[candidate.name] for candidate in rank(_candidate(row, metric) for row in rows)]


def bd_rate(curve: Curve, anchor: Curve | None) -> dict[str, Any]:
    """The BD-rate fields of a row: a curve against the anchor's, or the reason why they do not compare."""
    if anchor is None:
        return {"bd_rate_percent": None, "bd_rate_percent_why": f"{ANCHOR} is not among the baselines"}
    percent = bd_rate_percent(*_rates_and_psnr(anchor), *_rates_and_psnr(curve))
    if percent is not None:
        return {"bd_rate_percent": percent, "bd_rate_points": len(curve)}
    why = f"the curve, of {len(curve)} rates, is too short, falls, or is too far from {ANCHOR}'s"
    return {"bd_rate_percent": None, "bd_rate_percent_why": why}


_FIGURES = tuple(field for field in FiguresAtTarget.model_fields if not field.endswith("_why"))
_COSTS = tuple(Costs.model_fields)


def _rates_and_psnr(curve: Curve) -> tuple[list[float], list[float]]:
    return [point.bpp for point in curve], [point.psnr_db for point in curve]


def _common_hash(evaluations: Sequence[Evaluation], test_set: str) -> str | None:
    """The hash of a set's pictures, which all evaluations must share; None where there are none."""
    hashes = {evaluation.test_set_sha256[test_set] for evaluation in evaluations}
    if len(hashes) > 1:
        raise RatewrightError(f"the evaluations saw different versions of {test_set}; run `dvc repro evaluate`")
    return hashes.pop() if hashes else None


def _candidate(row: LossyRow, metric: str) -> Candidate:
    return Candidate(row.name, row.kind, row.bpp, getattr(row, metric), row.around_target is not None)


def _ranked_row(evaluation: Evaluation, test_set: str, anchor: Curve | None) -> RankedRow:
    return RankedRow(**_lossy(evaluation, test_set), **bd_rate(evaluation.curve[test_set], anchor))


def _lossy(evaluation: Evaluation, test_set: str) -> dict[str, Any]:
    """The fields of a lossy codec's row: figures at the target, or null with the reason where it has none."""
    results = evaluation.test_sets[test_set]
    point, fields = results.compared(evaluation.target_bpp), _identity_and_costs(evaluation)
    fields |= {"around_target": results.around_target, "around_target_why": results.around_target_why}
    fields |= {field: getattr(results, field) for field in Ceiling.model_fields}
    for figure in _FIGURES:
        fields[figure] = getattr(point, figure, None)
        if fields[figure] is None:
            fields[f"{figure}_why"] = results.at_target_why if point is None else getattr(point, f"{figure}_why", None)
    return fields


def _lossless_rows(evaluations: Sequence[Evaluation], test_set: str) -> list[LosslessRow]:
    """The rows of lossless codecs, smallest first."""
    points = {evaluation.name: evaluation.test_sets[test_set].as_calibrated for evaluation in evaluations}
    png = points.get("png")
    rows = [
        LosslessRow(
            **_identity_and_costs(evaluation),
            bpp=point.bpp,
            encode_s_per_mpx=point.encode_s_per_mpx,
            decode_s_per_mpx=point.decode_s_per_mpx,
            bits_per_sample=point.bpp / 3,
            share_of_png=None if png is None else point.bytes / png.bytes,
            share_of_png_why="png is not among the baselines" if png is None else None,
        )
        for evaluation, point in zip(evaluations, points.values(), strict=True)
    ]
    return sorted(rows, key=lambda row: (row.bpp, row.name))


def _identity_and_costs(evaluation: Evaluation) -> dict[str, Any]:
    costs = {field: getattr(evaluation, field) for field in _COSTS}
    return {"name": evaluation.name, "kind": evaluation.kind, **costs}


if __name__ == "__main__":
    stage(run)
