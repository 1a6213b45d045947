import tracemalloc

import numpy as np
import pytest

from components.evaluation import paired
from components.evaluation.paired import paired_difference


def test_a_constant_difference_has_no_spread() -> None:
    values = np.random.default_rng(0).normal(size=20)
    found = paired_difference(values + 2, values)
    assert found.mean == pytest.approx(2)
    assert found.low == pytest.approx(2)
    assert found.high == pytest.approx(2)
    assert found.pictures == 20


def coverage(count: int) -> float:
    """How often the interval of so many pictures holds the true mean."""
    random, hits = np.random.default_rng(1), 0
    for _ in range(200):
        pictures = random.normal(30, 5, size=count)  # pictures differ more than codecs do
        found = paired_difference(pictures + random.normal(0.3, 1, size=count), pictures)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.3 <= found.high
    return hits / 200


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    assert 0.88 <= coverage(40) <= 0.99
    assert coverage(paired.FEW_PICTURES // 2) < 0.88, "few pictures make it too narrow"


def test_the_interval_is_the_same_every_time_and_turns_with_the_sign() -> None:
    ours, others = np.random.default_rng(2).normal(size=(2, 15))
    found, turned = paired_difference(ours, others), paired_difference(others, ours)
    assert found == paired_difference(ours, others)
    assert (found.mean, found.low, found.high) == pytest.approx((-turned.mean, -turned.high, -turned.low))  # type: ignore[operator]


def test_draws_in_parts_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, others = np.random.default_rng(3).normal(size=(2, 37))
    whole = paired_difference(ours, others)
    monkeypatch.setattr(paired, "_AT_ONCE", 1000)
    assert paired_difference(ours, others) == whole


def test_a_set_of_thousands_takes_little_memory() -> None:
    ours, others = np.random.default_rng(4).normal(size=(2, 2000))
    tracemalloc.start()
    paired_difference(ours, others)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6, "all draws at once are 320 MB"


def test_one_picture_has_no_interval() -> None:
    assert paired_difference(np.array([3.0]), np.array([1.0])) == (2.0, None, None, 1)


@pytest.mark.parametrize("others", [np.zeros(3), np.zeros(0)])
def test_pictures_must_come_in_pairs(others: "np.typing.NDArray[np.float64]") -> None:
    with pytest.raises(ValueError, match="against"):
        paired_difference(np.zeros(0), others)
