import math

import pytest

from components.errors import CalibrationError
from components.rate.operating_points import search_operating_point
from tests.components.rate.rates import TARGET, power


@pytest.mark.parametrize("count", [1, 2, 7, 128])
@pytest.mark.parametrize("last", [0, 1, 3, 6, 127])
def test_search_operating_point_finds_the_last_one_below_the_target(count: int, last: int) -> None:
    operating_points = range(10, 10 + count)
    best = min(last, count - 1)
    trials = search_operating_point(lambda value: TARGET + (value - 10 - last - 0.5) / 1000, operating_points, TARGET)
    assert trials[-1].value == operating_points[best]
    assert trials[-1].bpp <= TARGET
    assert len(trials) <= 3 + math.log2(count)


def test_search_operating_point_names_the_lowest_rate() -> None:
    with pytest.raises(CalibrationError, match=r"no rate below 0\.15 bpp: the lowest is 0\.2000 bpp"):
        search_operating_point(power(1, 0.2), range(1, 9), TARGET)
