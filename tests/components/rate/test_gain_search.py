import math
from collections.abc import Callable

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.errors import CalibrationError
from components.rate.gain_search import gain_for_target, search_gain
from components.rate.real_rate import rate_function
from components.rate.trial import Trial
from tests.components.rate.rates import TARGET, Rate, power, staircase, with_header

Make = Callable[..., Codec]


@pytest.mark.parametrize(
    "rate",
    [
        power(1.0, 0.6),
        power(1.0, 0.03),
        power(0.7, 0.15),
        power(1.4, 1.0),
        with_header(power(1.0, 0.4), 0.05),
        staircase(power(0.9, 0.31), 2000),
        staircase(with_header(power(1.0, 0.07), 0.01), 700),
        lambda gain: 0.08 * math.log2(1 + gain),
    ],
)
@pytest.mark.parametrize("start", [1.0, 0.4, 2.5])
@pytest.mark.parametrize("tolerance", [0.01, 0.05])
def test_search_gain_meets_the_window(rate: Rate, start: float, tolerance: float) -> None:
    asked: list[float] = []

    def rate_of(gain: float) -> float:
        asked.append(gain)
        return rate(gain)

    trials = search_gain(rate_of, TARGET, tolerance, start)
    assert (1 - tolerance) * TARGET <= trials[-1].bpp <= TARGET
    assert all(trial.bpp == rate(trial.value) for trial in trials)
    assert sorted(trial.value for trial in trials) == sorted(asked), "every evaluation is a trial"
    admissible = [t.bpp for t in trials if (1 - tolerance) * TARGET <= t.bpp <= TARGET]
    assert trials[-1].bpp == max(admissible), "the last trial is the best admissible one"
    assert asked[0] == start
    assert len(asked) <= 17


def test_search_gain_at_the_target_asks_once() -> None:
    assert search_gain(power(1.0, TARGET), TARGET, 0.01) == [Trial(1.0, TARGET)]


def test_search_gain_over_coarse_stairs_takes_a_tread_within_the_window() -> None:
    """Treads of 0.7 % of the target: bisection cannot reach the upper quarter, but must not miss the window."""
    rate = staircase(power(1.0, 0.4), 1 / 0.00105)
    assert 0.99 * TARGET <= search_gain(rate, TARGET, 0.01)[-1].bpp <= TARGET


@pytest.mark.parametrize(
    ("rate", "nearest"),
    [
        (lambda gain: 0.40 + 0.001 * gain, 0.4),  # headers alone exceed the target
        (lambda gain: 0.02 + 1e-4 * min(gain, 4), 0.02),  # a code that has no more to say
        (lambda gain: 0.12 if gain < 0.8 else 0.16, 0.16),  # a step over the window
    ],
)
def test_an_unreachable_target_names_the_nearest_rate(rate: Rate, nearest: float) -> None:
    with pytest.raises(CalibrationError, match=r"no quantiser step meets 0\.15 bpp within 1\.0%") as caught:
        search_gain(rate, TARGET, 0.01)
    said = str(caught.value)
    assert "\n" not in said
    stated = float(said.partition("nearest rate reached is ")[2].split()[0])
    assert stated == pytest.approx(nearest, rel=0.05)
    gain = float(said.rpartition(" ")[2])
    assert rate(gain) == pytest.approx(stated, abs=1e-4)


def test_search_gain_stays_within_its_reach() -> None:
    asked: list[float] = []

    def rate(gain: float) -> float:
        asked.append(gain)
        return 1e-4

    with pytest.raises(CalibrationError):
        search_gain(rate, TARGET, 0.01, 2.0)
    assert max(asked) <= 32
    assert len(asked) < 10


def test_gain_for_target_meets_the_target(make_codec: Make, photographs: list[Rgb]) -> None:
    codec = make_codec("wcae")
    rate = rate_function(codec, photographs)
    target = 1.3 * rate(1.0)
    gain = gain_for_target(codec, photographs, target, 0.02)
    assert 0.98 * target <= rate(gain) <= target


def test_gain_for_target_out_of_reach(make_codec: Make) -> None:
    with pytest.raises(CalibrationError, match="nearest rate reached"):
        gain_for_target(make_codec("wcae"), [np.zeros((8, 8, 3), np.uint8)], 0.15, 0.01)


def test_the_gain_that_is_measured_is_the_one_that_a_checkpoint_holds(make_codec: Make, photographs: list[Rgb]) -> None:
    codec = make_codec("wcae")
    own = rate_function(codec, photographs[:2])(1.0)
    found = gain_for_target(codec, photographs[:2], 0.8 * own, 0.02)
    assert found != 1.0
    codec.gain.fill_(found)
    assert codec.gain.item() == found
