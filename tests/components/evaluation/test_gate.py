"""The rules of the gate on made figures."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from components.evaluation.gate import RULES, JudgedRule, Measured, Rule, judge
from components.evaluation.results import ImageResult

PICTURE = ImageResult(
    image="0.png", width=100, height=80, bytes=1000, bpp=1.0, psnr_db=30.0, ssim=0.9, ms_ssim=0.95, swd=1.0,
    ssimulacra2=50.0, psnr_hvs_m_db=31.0, encode_s=0.4, decode_s=0.2, reasons={},
)  # fmt: skip
COUNT = 24


def measured(peak_mb: float | None = 100.0, regression: int = 0, **figures: Any) -> Measured:
    """Pictures with these figures, those of PICTURE where none are given."""
    pictures = []
    for place in range(COUNT):
        own: dict[str, Any] = {name: values[place] for name, values in figures.items()}
        pictures.append(replace(PICTURE, image=f"{place}.png", **own))
    return Measured(pictures, pictures[:regression], peak_mb)


def by_name(challenger: Measured, champion: Measured, **rules: Rule) -> dict[str, JudgedRule]:
    return {rule.rule: rule for rule in judge(rules or RULES, challenger, champion, "psnr_db")}


CHAMPION = measured()
NOISE = np.random.default_rng(3).normal(0, 1, COUNT)


def better_by(gain: float, spread: float = 0.1) -> list[float]:
    return list(30.0 + gain + spread * (NOISE - NOISE.mean()))


def test_an_equal_codec_breaks_the_rule_on_quality_alone() -> None:
    judged = by_name(CHAMPION, CHAMPION)
    assert [name for name, rule in judged.items() if not rule.passed] == ["quality"]
    assert set(judged) == set(RULES) - {"regression"}, "there are no regression pictures"
    assert {rule.gain for rule in judged.values()} == {0.0}


def test_a_better_codec_breaks_none() -> None:
    judged = by_name(measured(psnr_db=better_by(0.2)), CHAMPION)
    assert all(rule.passed for rule in judged.values())
    quality = judged["quality"]
    assert quality.gain == pytest.approx(0.2)
    assert quality.low is not None
    assert quality.high is not None
    assert 0.1 < quality.low < 0.2 < quality.high < 0.3
    assert quality.text.startswith("+0.2 psnr_db on average over 24 pictures (95 % interval +0.1")


def test_a_gain_that_chance_explains_is_none() -> None:
    noisy = measured(psnr_db=better_by(0.01))
    quality = by_name(noisy, CHAMPION)["quality"]
    assert quality.gain == pytest.approx(0.01)
    assert not quality.passed
    assert quality.text.endswith(", and the interval must lie above +0")
    assert by_name(noisy, CHAMPION, quality=Rule(above=0.0))["quality"].passed, "the mean alone"


def test_better_on_average_and_terrible_on_one_picture() -> None:
    figures = [31.0] * COUNT
    figures[7] = 22.0
    judged = by_name(measured(psnr_db=figures), CHAMPION, worst=RULES["worst_picture"], quality=Rule(above=0.0))
    assert judged["quality"].passed
    worst = judged["worst"]
    assert (worst.passed, worst.picture, worst.gain) == (False, "7.png", -8.0)
    assert worst.text == "-8 psnr_db on 7.png, the worst of 24 pictures, and it must lie above -0.5"


@pytest.mark.parametrize(
    ("rule", "figures", "gain", "said"),
    [
        ("rate", {"bytes": [1011] * COUNT}, -0.011, "1.1% more bits over 24 pictures, and it must lie above -1.0%"),
        ("decode_time", {"decode_s": [0.41] * COUNT}, -1.05, "105.0% more seconds to decode over 24 pictures, and"),
        ("ms_ssim", {"ms_ssim": [0.947] * COUNT}, -0.003, "-0.003 ms_ssim on average over 24 pictures (95 % interval"),
        ("ssimulacra2", {"ssimulacra2": [48.0] * COUNT}, -2.0, "-2 ssimulacra2 on average"),
    ],
)
def test_what_a_better_codec_must_not_cost(rule: str, figures: dict[str, Any], gain: float, said: str) -> None:
    judged = by_name(measured(psnr_db=better_by(1.0), **figures), CHAMPION)
    assert [name for name, each in judged.items() if not each.passed] == [rule]
    assert judged[rule].gain == pytest.approx(gain)
    assert judged[rule].text.startswith(said)


def test_memory_is_one_figure() -> None:
    judged = by_name(measured(peak_mb=201.0, psnr_db=better_by(1.0)), CHAMPION)["memory"]
    assert (judged.passed, judged.text) == (False, "101.0% more memory, and it must lie above -100.0%")
    unknown = by_name(measured(peak_mb=None), CHAMPION)["memory"]
    assert (unknown.passed, unknown.gain) == (True, None)
    assert "decides nothing" in unknown.text


def test_regression_pictures_have_a_rule_of_their_own() -> None:
    figures = better_by(1.0)
    figures[2] = 29.8
    judged = by_name(measured(regression=4, psnr_db=figures), measured(regression=4))
    assert [name for name, rule in judged.items() if not rule.passed] == ["regression"]
    assert (judged["regression"].picture, judged["regression"].pictures) == ("2.png", 4)


def test_a_picture_without_the_figure_is_left_out() -> None:
    figures = [None, *[31.0] * (COUNT - 1)]
    assert by_name(measured(psnr_db=figures), CHAMPION)["quality"].pictures == COUNT - 1
    judged = by_name(measured(ms_ssim=[None] * COUNT), CHAMPION)["ms_ssim"]
    assert (judged.passed, judged.gain, judged.pictures) == (True, None, 0)


def test_other_pictures_are_refused() -> None:
    other = Measured([replace(one, image=f"other-{one.image}") for one in CHAMPION.test])
    with pytest.raises(ValueError, match="on other pictures"):
        judge(RULES, other, CHAMPION, "psnr_db")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"figure": "psnr_db", "over": "total", "above": 0.0}, "`over: total` is for bpp"),
        ({"over": "total", "above": 0.0}, "`over: total` is for bpp"),
        ({"figure": "peak_mb", "over": "mean", "above": 0.0}, "peak_mb is one figure"),
        ({"over": "worst", "above": 0.0, "certain": True}, "`certain` is for"),
        ({"figure": "beauty", "above": 0.0}, "figure"),
        ({"figure": "psnr_db"}, "above"),
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Rule.model_validate(wrong)
