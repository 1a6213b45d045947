import math
from itertools import pairwise

import pytest

from components.rate.lambda_search import search_lambda
from components.rate.trial import Trial
from tests.components.rate.rates import TARGET, power, staircase


@pytest.mark.parametrize("raises_rate", [True, False])
@pytest.mark.parametrize("slope", [0.4, 0.55, 0.8, 1.2])
@pytest.mark.parametrize("at_one", [0.02, 0.3, 1.1])
def test_search_lambda_converges(raises_rate: bool, slope: float, at_one: float) -> None:
    """From a factor of up to eight off: three secant steps on a power law, or as near as factors of four go."""
    rate = power(slope if raises_rate else -slope, at_one)
    asked: list[float] = []

    def rate_of(lmbda: float) -> float:
        asked.append(lmbda)
        return rate(lmbda)

    first = Trial(1.0, at_one)
    trials = search_lambda(rate_of, first, TARGET, raises_rate=raises_rate, rounds=3, close_enough=0.05)
    assert trials[0] == first
    assert [t.value for t in trials[1:]] == asked, "the first rate is known already"
    misses = [abs(math.log(t.bpp / TARGET)) for t in trials]
    assert misses[-1] < misses[0]
    assert misses[-1] <= 0.05 or abs(math.log(at_one / TARGET)) / slope > 2.5 * math.log(4)
    for before, after in pairwise(trials):
        assert abs(math.log(after.value / before.value)) <= math.log(4) + 1e-9


def test_search_lambda_of_staircases() -> None:
    rate = staircase(power(-0.6, 0.5), 100)
    trials = search_lambda(rate, Trial(1.0, rate(1.0)), TARGET, raises_rate=False, rounds=5, close_enough=0.05)
    assert trials[-1].bpp == pytest.approx(TARGET, rel=0.05)


def test_search_lambda_close_enough_or_without_rounds_trains_nothing() -> None:
    def never(lmbda: float) -> float:
        raise AssertionError(f"trained at {lmbda}")

    near, far = Trial(0.01, 0.1545), Trial(0.01, 0.5)
    assert search_lambda(never, near, TARGET, raises_rate=False, rounds=3, close_enough=0.05) == [near]
    assert search_lambda(never, far, TARGET, raises_rate=False, rounds=0, close_enough=0.05) == [far]


def test_search_lambda_does_not_believe_a_slope_of_the_wrong_sign() -> None:
    """A short training that moved the rate the wrong way: the next step still goes the right way."""
    rates = iter([0.5, 0.2, 0.15])
    trials = search_lambda(
        lambda _: next(rates), Trial(1.0, 0.4), TARGET, raises_rate=False, rounds=3, close_enough=0.05
    )
    values = [t.value for t in trials]
    assert values == sorted(values), "the rate was above the target each time: lambda must grow"
    assert len(trials) == 4
