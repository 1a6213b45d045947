import pytest
from pydantic import ValidationError

from components.evaluation.selection import Candidate, Gate, RateAndQuality, challenge, rank, winner

GATE = Gate(min_gain=0.0, rate_slack=0.01)


def candidate(name: str, quality: float | None, bpp: float | None = 0.15, kind: str = "learned") -> Candidate:
    return Candidate(name, kind, bpp, quality)


def names(candidates: list[Candidate]) -> list[str]:
    return [one.name for one in candidates]


def test_rank_is_best_first() -> None:
    rows = [candidate("low", 28.0), candidate("none", None, None), candidate("high", 31.5), candidate("middle", 30.0)]
    assert names(rank(rows)) == ["high", "middle", "low", "none"]
    assert names(rows) == ["low", "none", "high", "middle"], "the argument is left alone"


def test_rank_breaks_ties_by_rate_then_name() -> None:
    rows = [
        candidate("z", 30, 0.14),
        candidate("b", 30, 0.15),
        candidate("a", 30, 0.15),
        candidate("y", None),
        candidate("x", None),
    ]
    assert names(rank(rows)) == ["z", "a", "b", "x", "y"]


def test_rank_of_negative_and_zero_quality() -> None:
    assert names(rank([candidate("none", None), candidate("zero", 0.0), candidate("bad", -3.0)])) == [
        "zero",
        "bad",
        "none",
    ]


def test_the_winner_is_the_best_learned_codec_within_the_target() -> None:
    rows = rank(
        [
            candidate("avif", 33.0, kind="baseline"),
            candidate("over", 32.0, 0.1501),
            candidate("best", 31.0, 0.1499),
            candidate("second", 30.5),
            candidate("jpeg", 26.0, kind="baseline"),
            candidate("lossless", None, None, "lossless"),
        ]
    )
    name, why = winner(rows, "psnr_db", 0.15)
    assert name == "best"
    assert "31.000 at 0.1499 bpp" in why
    assert "0.500 above second" in why
    assert why.endswith("classic codecs above it: avif")
    assert "jpeg" not in why


def test_an_interpolated_row_never_wins() -> None:
    rows = rank([Candidate("between", "learned", 0.15, 33.0, interpolated=True), candidate("real", 30.0)])
    assert names(rows) == ["between", "real"]
    name, why = winner(rows, "psnr_db", 0.15)
    assert name == "real"
    assert "between" not in why
    assert winner(rows[:1], "psnr_db", 0.15)[0] is None


def test_a_single_learned_codec_wins_without_comparison() -> None:
    name, why = winner([candidate("only", 30.0), candidate("jpeg", 26.0, kind="baseline")], "psnr_db", 0.15)
    assert name == "only"
    assert "above" not in why


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [candidate("jpeg", 26.0, kind="baseline")],
        [candidate("over", 31.0, 0.2)],
        [candidate("none", None, None)],
    ],
)
def test_there_may_be_no_winner(rows: list[Candidate]) -> None:
    name, why = winner(rows, "psnr_db", 0.15)
    assert name is None
    assert why == "no learned codec has a psnr_db at 0.15 bpp or less"


def figures(quality: float, bpp: float = 0.15) -> RateAndQuality:
    return RateAndQuality(bpp, quality)


def test_the_first_challenger_is_promoted() -> None:
    outcome, why = challenge(figures(20.0), None, GATE, "psnr_db")
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
def test_the_gate(challenger: RateAndQuality, outcome: str, said: str) -> None:
    decision = challenge(challenger, figures(30.0, 0.15), GATE, "psnr_db")
    assert decision.outcome == outcome
    assert said in decision.why
    assert f"challenger psnr_db {challenger.quality:.3f} at {challenger.bpp:.4f} bpp" in decision.why
    assert "champion 30.000 at 0.1500 bpp" in decision.why


def test_the_gain_must_exceed_the_minimum() -> None:
    gate = Gate(min_gain=0.5, rate_slack=0.0)
    assert challenge(figures(30.5), figures(30.0), gate, "ms_ssim").outcome == "kept champion"
    assert challenge(figures(30.75), figures(30.0), gate, "ms_ssim").outcome == "promoted"
    assert challenge(figures(30.75, 0.1501), figures(30.0), gate, "ms_ssim").outcome == "kept champion"


def test_the_decision_names_the_metric() -> None:
    assert "challenger ms_ssim 0.950" in challenge(figures(0.95), figures(0.94), GATE, "ms_ssim").why


@pytest.mark.parametrize("wrong", [{"min_gain": -0.1}, {"rate_slack": 1.5}, {"margin": 0.1}])
def test_a_gate_refuses_limits_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Gate.model_validate(wrong)
