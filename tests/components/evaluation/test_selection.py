from typing import Any

import pytest

from components.evaluation.selection import Gate, challenge, rank, winner

GATE = Gate("psnr_db", min_gain=0.0, rate_slack=0.01)


def row(name: str, psnr_db: float | None, bpp: float | None = 0.15, kind: str = "learned") -> dict[str, Any]:
    return {"name": name, "kind": kind, "bpp": bpp, "psnr_db": psnr_db}


def names(rows: Any) -> list[str]:
    return [one["name"] for one in rows]


def test_rank_is_best_first() -> None:
    rows = [row("low", 28.0), row("none", None, None), row("high", 31.5), row("middle", 30.0)]
    assert names(rank(rows, "psnr_db")) == ["high", "middle", "low", "none"]
    assert names(rows) == ["low", "none", "high", "middle"], "the argument is left alone"


def test_rank_breaks_ties_by_rate_then_name() -> None:
    rows = [row("z", 30, 0.14), row("b", 30, 0.15), row("a", 30, 0.15), row("y", None), row("x", None)]
    assert names(rank(rows, "psnr_db")) == ["z", "a", "b", "x", "y"]


def test_rank_of_negative_and_zero_quality() -> None:
    assert names(rank([row("none", None), row("zero", 0.0), row("bad", -3.0)], "psnr_db")) == ["zero", "bad", "none"]


def test_rank_uses_the_metric_it_is_told() -> None:
    rows = [{**row("a", 30), "ms_ssim": 0.9}, {**row("b", 29), "ms_ssim": 0.95}]
    assert names(rank(rows, "ms_ssim")) == ["b", "a"]


def test_the_winner_is_the_best_learned_codec_within_the_target() -> None:
    rows = rank(
        [
            row("avif", 33.0, kind="baseline"),
            row("over", 32.0, 0.1501),
            row("best", 31.0, 0.1499),
            row("second", 30.5),
            row("jpeg", 26.0, kind="baseline"),
            row("lossless", None, None, "lossless"),
        ],
        "psnr_db",
    )
    name, why = winner(rows, "psnr_db", 0.15)
    assert name == "best"
    assert "31.000 at 0.1499 bpp" in why
    assert "0.500 above second" in why
    assert why.endswith("classic codecs above it: avif")
    assert "jpeg" not in why


def test_a_single_learned_codec_wins_without_comparison() -> None:
    name, why = winner([row("only", 30.0), row("jpeg", 26.0, kind="baseline")], "psnr_db", 0.15)
    assert name == "only"
    assert "above" not in why


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("jpeg", 26.0, kind="baseline")],
        [row("over", 31.0, 0.2)],
        [row("none", None, None)],
    ],
)
def test_there_may_be_no_winner(rows: list[dict[str, Any]]) -> None:
    name, why = winner(rows, "psnr_db", 0.15)
    assert name is None
    assert why == "no learned codec has a psnr_db at 0.15 bpp or less"


def figures(psnr_db: float, bpp: float = 0.15) -> dict[str, float]:
    return {"psnr_db": psnr_db, "bpp": bpp}


def test_the_first_challenger_is_promoted() -> None:
    outcome, why = challenge(figures(20.0), None, GATE)
    assert outcome == "promoted"
    assert "there was no champion" in why
    assert "20.000 at 0.1500 bpp" in why


@pytest.mark.parametrize(
    ("challenger", "outcome", "said"),
    [
        (figures(30.1), "promoted", "better in quality and no worse in rate"),
        (figures(30.1, 0.1515), "promoted", "better"),  # within the slack
        (figures(30.1, 0.10), "promoted", "better"),
        (figures(35.0, 0.1516), "kept champion", "the rate is higher by more than 1.0%"),
        (figures(30.0), "kept champion", "the gain is not above 0"),  # equal is not better
        (figures(29.9), "kept champion", "the gain is not above 0"),
        (figures(29.9, 0.10), "kept champion", "the gain is not above 0"),
        (figures(29.9, 0.20), "kept champion", "the rate is higher"),
    ],
)
def test_the_gate(challenger: dict[str, float], outcome: str, said: str) -> None:
    decision = challenge(challenger, figures(30.0, 0.15), GATE)
    assert decision.outcome == outcome
    assert said in decision.why
    assert f"challenger psnr_db {challenger['psnr_db']:.3f} at {challenger['bpp']:.4f} bpp" in decision.why
    assert "champion 30.000 at 0.1500 bpp" in decision.why


def test_the_gain_must_exceed_the_minimum() -> None:
    gate = Gate("psnr_db", min_gain=0.5, rate_slack=0.0)
    assert challenge(figures(30.5), figures(30.0), gate).outcome == "kept champion"
    assert challenge(figures(30.75), figures(30.0), gate).outcome == "promoted"
    assert challenge(figures(30.75, 0.1501), figures(30.0), gate).outcome == "kept champion"


def test_the_gate_reads_its_own_metric() -> None:
    new, old = ({"psnr_db": p, "ms_ssim": m, "bpp": 0.15} for p, m in ((30, 0.95), (31, 0.94)))
    assert challenge(new, old, Gate("ms_ssim", 0, 0.01)).outcome == "promoted"
    assert challenge(new, old, Gate("psnr_db", 0, 0.01)).outcome == "kept champion"
