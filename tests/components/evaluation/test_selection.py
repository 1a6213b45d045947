import pytest

from components.evaluation.selection import Candidate, rank, winner


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
