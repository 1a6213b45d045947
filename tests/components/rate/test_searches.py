import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from components.errors import CalibrationError
from components.rate.searches import Trial, climb, search_lmbda, trim

Rate = Callable[[float], float]
TARGET = 0.15


def power(slope: float, at_one: float) -> Rate:
    return lambda value: at_one * value**slope


def staircase(rate: Rate, steps: float) -> Rate:
    """Real files come in whole bytes: the rate rounded up to multiples of 1 / steps."""
    return lambda value: math.ceil(rate(value) * steps) / steps


def with_header(rate: Rate, header: float) -> Rate:
    return lambda value: header + rate(value)


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
def test_trim_meets_the_window(rate: Rate, start: float, tolerance: float) -> None:
    asked: list[float] = []

    def rate_of(gain: float) -> float:
        asked.append(gain)
        return rate(gain)

    trials = trim(rate_of, TARGET, tolerance, start)
    assert (1 - tolerance) * TARGET <= trials[-1].bpp <= TARGET
    assert all(trial.bpp == rate(trial.value) for trial in trials)
    assert sorted(trial.value for trial in trials) == sorted(asked), "everything tried is told"
    admissible = [t.bpp for t in trials if (1 - tolerance) * TARGET <= t.bpp <= TARGET]
    assert trials[-1].bpp == max(admissible), "the last trial is the best admissible one"
    assert asked[0] == start
    assert len(asked) <= 17


def test_trim_at_the_target_asks_once() -> None:
    assert trim(power(1.0, TARGET), TARGET, 0.01) == [Trial(1.0, TARGET)]


def test_trim_over_coarse_stairs_takes_a_tread_within_the_window() -> None:
    """Treads of 0.7 % of the target: bisection cannot reach the upper quarter, but must not miss the window."""
    rate = staircase(power(1.0, 0.4), 1 / 0.00105)
    assert 0.99 * TARGET <= trim(rate, TARGET, 0.01)[-1].bpp <= TARGET


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
        trim(rate, TARGET, 0.01)
    said = str(caught.value)
    assert "\n" not in said
    stated = float(said.partition("nearest rate reached is ")[2].split()[0])
    assert stated == pytest.approx(nearest, rel=0.05)
    gain = float(said.rpartition(" ")[2])
    assert rate(gain) == pytest.approx(stated, abs=1e-4)


def test_trim_stays_within_its_reach() -> None:
    asked: list[float] = []

    def rate(gain: float) -> float:
        asked.append(gain)
        return 1e-4

    with pytest.raises(CalibrationError):
        trim(rate, TARGET, 0.01, 2.0)
    assert max(asked) <= 32
    assert len(asked) < 10


@pytest.mark.parametrize("raises_rate", [True, False])
@pytest.mark.parametrize("slope", [0.4, 0.55, 0.8, 1.2])
@pytest.mark.parametrize("at_one", [0.02, 0.3, 1.1])
def test_search_lmbda_converges(raises_rate: bool, slope: float, at_one: float) -> None:
    """From a factor of up to eight off: three secant steps on a power law, or as near as factors of four go."""
    rate = power(slope if raises_rate else -slope, at_one)
    asked: list[float] = []

    def rate_of(lmbda: float) -> float:
        asked.append(lmbda)
        return rate(lmbda)

    first = Trial(1.0, at_one)
    trials = search_lmbda(rate_of, first, TARGET, raises_rate=raises_rate, rounds=3, close_enough=0.05)
    assert trials[0] == first
    assert [t.value for t in trials[1:]] == asked, "the first rate is known already"
    misses = [abs(math.log(t.bpp / TARGET)) for t in trials]
    assert misses[-1] < misses[0]
    assert misses[-1] <= 0.05 or abs(math.log(at_one / TARGET)) / slope > 2.5 * math.log(4)
    for before, after in pairwise(trials):
        assert abs(math.log(after.value / before.value)) <= math.log(4) + 1e-9


def test_search_lmbda_of_staircases() -> None:
    rate = staircase(power(-0.6, 0.5), 100)
    trials = search_lmbda(rate, Trial(1.0, rate(1.0)), TARGET, raises_rate=False, rounds=5, close_enough=0.05)
    assert trials[-1].bpp == pytest.approx(TARGET, rel=0.05)


def test_search_lmbda_close_enough_or_without_rounds_trains_nothing() -> None:
    def never(lmbda: float) -> float:
        raise AssertionError(f"trained at {lmbda}")

    near, far = Trial(0.01, 0.1545), Trial(0.01, 0.5)
    assert search_lmbda(never, near, TARGET, raises_rate=False, rounds=3, close_enough=0.05) == [near]
    assert search_lmbda(never, far, TARGET, raises_rate=False, rounds=0, close_enough=0.05) == [far]


def test_search_lmbda_does_not_believe_a_slope_of_the_wrong_sign() -> None:
    """A short training that moved the rate the wrong way: the next step still goes the right way."""
    rates = iter([0.5, 0.2, 0.15])
    trials = search_lmbda(
        lambda _: next(rates), Trial(1.0, 0.4), TARGET, raises_rate=False, rounds=3, close_enough=0.05
    )
    values = [t.value for t in trials]
    assert values == sorted(values), "the rate was above the target each time: lambda must grow"
    assert len(trials) == 4


@pytest.mark.parametrize("count", [1, 2, 7, 128])
@pytest.mark.parametrize("last", [0, 1, 3, 6, 127])
def test_climb_finds_the_last_rung_below_the_target(count: int, last: int) -> None:
    rungs = range(10, 10 + count)
    best = min(last, count - 1)
    trials = climb(lambda value: TARGET + (value - 10 - last - 0.5) / 1000, rungs, TARGET)
    assert trials[-1].value == rungs[best]
    assert trials[-1].bpp <= TARGET
    assert len(trials) <= 3 + math.log2(count)


def test_climb_names_the_lowest_rate() -> None:
    with pytest.raises(CalibrationError, match=r"no rate below 0\.15 bpp: the lowest is 0\.2000 bpp"):
        climb(power(1, 0.2), range(1, 9), TARGET)
