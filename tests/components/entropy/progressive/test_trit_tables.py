import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from components.coding.fixed_point import UNIT
from components.coding.gain import LOG_GAIN_UNIT
from components.coding.range_coder import TOTAL
from components.entropy.progressive.trit_tables import (
    LOWEST_PRIORITY,
    PRIORITY_PER_PLANE,
    SCALES,
    Gaussians,
    Intervals,
    TritTables,
    next_trits,
    scale_of,
    split,
    units_of,
)
from components.layers.fixed_point import to_fixed_point

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tables() -> TritTables:
    return TritTables()


def identical(count: int, scale: float, mean: float = 0.0) -> Gaussians:
    """Gaussians of one scale and mean in bins."""
    log_scale = to_fixed_point(torch.full((count,), math.log(scale)))
    return Gaussians(torch.full((count,), round(mean * UNIT)), units_of(log_scale, torch.zeros(())))


def sampled(count: int, scale: float) -> Tensor:
    return (torch.randn(count, generator=torch.Generator().manual_seed(0)) * scale).round().long()


def test_the_tables_are_integers_that_add_up(tables: TritTables) -> None:
    for name, table in tables.state_dict().items():
        assert table.dtype == torch.int32, name
    assert (tables.frequencies > 0).all()
    assert (tables.frequencies.sum(dim=-1) == TOTAL).all()
    assert sum(table.numel() for table in tables.state_dict().values()) < 100_000


def test_units_follow_the_logarithm_and_the_gain() -> None:
    for scale in (0.5, 1.0, 30.0, 400.0):
        for gain in (0.3, 1.0, 1.4):
            shift = torch.tensor(float(round(math.log(gain) / LOG_GAIN_UNIT)))
            units = units_of(to_fixed_point(torch.tensor([math.log(scale)])), shift)
            assert scale_of(units).item() == pytest.approx(scale * gain, rel=3e-3)


@pytest.mark.parametrize("scale", [0.15, 0.4, 1.0, 3.0, 12.0, 100.0, 600.0])
def test_all_trits_of_a_gaussian_cost_its_entropy(tables: TritTables, scale: float) -> None:
    """And every plane leaves less error, by about a factor of nine once the interval is small."""
    count = 60_000
    values, gaussians = sampled(count, scale), identical(count, scale)
    intervals, bits, errors = tables.start(gaussians), 0.0, []
    while (intervals.planes > 0).any():
        trits = next_trits(values, intervals)
        rows = tables.frequencies.long()[tables.place(gaussians, intervals)]
        bits -= float((rows.gather(1, trits[:, None]).double() / TOTAL).log2().sum())
        intervals = split(intervals, trits)
        expected = tables.expected(tables.place(gaussians, intervals), intervals) / UNIT
        errors.append(float((expected - values).square().mean()))
    assert torch.equal(intervals.middle, values)
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
    random = torch.Generator().manual_seed(0)
    count = 50_000
    planes = torch.randint(0, 10, (count,), generator=random)
    intervals = Intervals(torch.randint(-9000, 9000, (count,), generator=random), planes)
    mean = torch.randint(-20_000 * UNIT, 20_000 * UNIT, (count,), generator=random)
    units = torch.randint(0, (SCALES - 1) << 8, (count,), generator=random)
    gaussians = Gaussians(mean, units)
    expected = tables.expected(tables.place(gaussians, intervals), intervals) / UNIT
    assert ((expected - intervals.middle).abs() <= intervals.width / 2).all()


def test_a_mean_moves_the_probabilities_towards_it(tables: TritTables) -> None:
    intervals = Intervals(torch.zeros(3, dtype=torch.int64), torch.full((3,), 3))
    moved = tables.moved(identical(3, 6.0), to_fixed_point(torch.tensor([-1.5, 0.0, 1.5])), torch.zeros(3))
    rows = tables.frequencies[tables.place(moved, intervals)]
    assert rows.argmax(dim=1).tolist() == [0, 1, 2]
    assert torch.equal(rows[0].flip(0), rows[2])


def test_ranks_fall_from_plane_to_plane_by_nine_and_end_at_the_step(tables: TritTables) -> None:
    gaussians = identical(1, 300.0)
    ranks = []
    for planes in range(4, 0, -1):
        intervals = Intervals(torch.zeros(1, dtype=torch.int64), torch.tensor([planes]))
        ranks.append(int(tables.priorities(gaussians, intervals)))
    assert all(before - after == pytest.approx(PRIORITY_PER_PLANE, abs=60) for before, after in pairwise(ranks))
    assert ranks[-1] > LOWEST_PRIORITY > ranks[-1] - PRIORITY_PER_PLANE
    closed = Intervals(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    assert int(tables.priorities(gaussians, closed)) < -100_000


def test_certain_trits_are_not_worth_coding(tables: TritTables) -> None:
    gaussians = identical(1, 0.11)
    assert int(tables.priorities(gaussians, tables.start(gaussians))) < LOWEST_PRIORITY
