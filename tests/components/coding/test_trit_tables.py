import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from components.coding.fixed_point import UNIT, Values
from components.coding.gain import LOG_GAIN_UNIT
from components.coding.range_coder import TOTAL
from components.coding.trit_tables import (
    LOWEST_PRIORITY,
    PRIORITY_PER_PLANE,
    SCALES,
    Gaussians,
    Integers,
    Intervals,
    TritTables,
    next_trits,
    split,
    units_of,
)
from components.entropy.progressive.trit_tables import TritTableBuffers, scale_of


@pytest.fixture(scope="module")
def tables() -> TritTables:
    return TritTables(TritTableBuffers().integers())


def fixed(values: float | list[float]) -> Values:
    return np.round(np.atleast_1d(values) * UNIT)


def identical(count: int, scale: float, mean: float = 0.0) -> Gaussians:
    """Gaussians of one scale and mean in bins."""
    return Gaussians(np.full(count, round(mean * UNIT)), units_of(fixed([math.log(scale)] * count), np.zeros(1)))


def sampled(count: int, scale: float) -> Integers:
    return np.round(np.random.default_rng(0).normal(0, scale, count)).astype(np.int64)


def test_the_tables_are_integers_that_add_up(tables: TritTables) -> None:
    stored = TritTableBuffers().integers()
    assert {table.dtype.name for table in stored.values()} == {"int32"}
    assert (tables.frequencies > 0).all()
    assert (tables.frequencies.sum(axis=-1) == TOTAL).all()
    assert sum(table.size for table in stored.values()) < 100_000


def test_units_follow_the_logarithm_and_the_gain() -> None:
    for scale in (0.5, 1.0, 30.0, 400.0):
        for gain in (0.3, 1.0, 1.4):
            units = units_of(fixed(math.log(scale)), np.round([math.log(gain) / LOG_GAIN_UNIT]))
            assert scale_of(torch.from_numpy(units)).item() == pytest.approx(scale * gain, rel=3e-3)


@pytest.mark.parametrize("scale", [0.15, 0.4, 1.0, 3.0, 12.0, 100.0, 600.0])
def test_all_trits_of_a_gaussian_cost_its_entropy(tables: TritTables, scale: float) -> None:
    """And every plane leaves less error, by about a factor of nine once the interval is small."""
    count = 60_000
    values, gaussians = sampled(count, scale), identical(count, scale)
    intervals, bits, errors = tables.start(gaussians), 0.0, []
    while (intervals.planes > 0).any():
        trits = next_trits(values, intervals)
        rows = tables.frequencies[tables.place(gaussians, intervals)]
        bits -= float(np.log2(rows[np.arange(count), trits] / TOTAL).sum())
        intervals = split(intervals, trits)
        expected = tables.expected(tables.place(gaussians, intervals), intervals) / UNIT
        errors.append(float(np.square(expected - values).mean()))
    assert (intervals.middle == values).all()
    k = torch.arange(-4000, 4001, dtype=torch.float64)
    edges = torch.stack((k - 0.5, k + 0.5)) / scale
    mass = torch.special.ndtr(edges[1]) - torch.special.ndtr(edges[0])
    entropy = float(torch.special.entr(mass).sum() / math.log(2))
    assert bits / count == pytest.approx(entropy, rel=0.015, abs=0.003)
    assert all(after <= before * 1.001 for before, after in pairwise(errors))
    if len(errors) > 2 and scale > 3:
        assert errors[-3] / errors[-2] == pytest.approx(10, rel=0.05), "(9^2 - 1) / (3^2 - 1): values are integers"


def test_expected_values_stay_within_their_intervals(tables: TritTables) -> None:
    """For any means and scales that a refinement may give."""
    random, count = np.random.default_rng(0), 50_000
    intervals = Intervals(random.integers(-9000, 9000, count), random.integers(0, 10, count))
    mean = random.integers(-20_000 * UNIT, 20_000 * UNIT, count)
    units = random.integers(0, (SCALES - 1) << 8, count)
    gaussians = Gaussians(mean, units)
    expected = tables.expected(tables.place(gaussians, intervals), intervals) / UNIT
    assert (np.abs(expected - intervals.middle) <= intervals.width / 2).all()


def test_a_mean_moves_the_probabilities_towards_it(tables: TritTables) -> None:
    intervals = Intervals(np.zeros(3, dtype=np.int64), np.full(3, 3))
    moved = tables.moved(identical(3, 6.0), fixed([-1.5, 0.0, 1.5]), np.zeros(3))
    rows = tables.frequencies[tables.place(moved, intervals)]
    assert rows.argmax(axis=1).tolist() == [0, 1, 2]
    assert (rows[0][::-1] == rows[2]).all()


def test_ranks_fall_from_plane_to_plane_by_nine_and_end_at_the_step(tables: TritTables) -> None:
    gaussians = identical(1, 300.0)
    ranks = []
    for planes in range(4, 0, -1):
        intervals = Intervals(np.zeros(1, dtype=np.int64), np.array([planes]))
        ranks.append(int(tables.priorities(gaussians, intervals)[0]))
    assert all(before - after == pytest.approx(PRIORITY_PER_PLANE, abs=60) for before, after in pairwise(ranks))
    assert ranks[-1] > LOWEST_PRIORITY > ranks[-1] - PRIORITY_PER_PLANE
    closed = Intervals(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    assert int(tables.priorities(gaussians, closed)[0]) < -100_000


def test_certain_trits_are_not_worth_coding(tables: TritTables) -> None:
    gaussians = identical(1, 0.11)
    assert int(tables.priorities(gaussians, tables.start(gaussians))[0]) < LOWEST_PRIORITY
