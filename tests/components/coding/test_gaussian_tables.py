import math

import numpy as np
import pytest

from components.coding import escapes
from components.coding.gaussian_tables import (
    FRACTIONS,
    LARGEST,
    SCALES,
    SMALLEST,
    STEP,
    TABLE_OF_ONE,
    TABLES_PER_LOG,
    TABLES_PER_LOG_BITS,
    UNITS_PER_TABLE,
    GaussianTables,
    gaussian_frequencies,
)
from components.coding.range_coder import TOTAL
from components.entropy.gaussian_tables import GaussianTableBuffers


@pytest.fixture(scope="module")
def bank() -> GaussianTables:
    return GaussianTables(dict(zip(("support", "frequencies"), gaussian_frequencies(), strict=True)))


def probability(value: int, mean: float, scale: float) -> float:
    """P(round(N(mean, scale)) = value), from the side of the distribution where nothing cancels."""
    low, high = ((value + edge - mean) / (scale * math.sqrt(2)) for edge in (-0.5, 0.5))
    if low > 0:
        return 0.5 * (math.erfc(low) - math.erfc(high))
    return 0.5 * (math.erfc(-high) - math.erfc(-low))


def test_every_table_is_positive_and_sums_to_the_total(bank: GaussianTables) -> None:
    assert len(bank.tables) == SCALES * FRACTIONS
    for index, table in enumerate(bank.tables):
        assert table.dtype == np.int32
        assert len(table) == 2 * bank.supports[index // FRACTIONS] + 2
        assert table.min() >= 1
        assert table.sum() == TOTAL == 65536


def test_scales_are_even_in_the_logarithm(bank: GaussianTables) -> None:
    assert SMALLEST * math.exp(STEP * (SCALES - 1)) == pytest.approx(LARGEST)
    assert (np.diff(bank.supports) >= 0).all()
    assert bank.supports[-1] > 4 * LARGEST


@pytest.mark.parametrize("scale", range(0, SCALES, 5))
@pytest.mark.parametrize("fraction", range(FRACTIONS))
def test_tables_are_close_to_the_gaussian(bank: GaussianTables, scale: int, fraction: int) -> None:
    sigma, mean = SMALLEST * math.exp(STEP * scale), (fraction - 2) / FRACTIONS
    half, table = int(bank.supports[scale]), bank.tables[scale * FRACTIONS + fraction]
    true = np.array([probability(v, mean, sigma) for v in range(-half, half + 1)])
    coded = table[:-1] / TOTAL
    # One unit is the least any entry has, and the largest entry takes what flooring leaves over.
    assert np.abs(coded - true).max() <= (len(table) + 1) / TOTAL
    excess = float((true * np.log2(true / coded, where=true > 0, out=np.zeros_like(true))).sum())
    assert excess + 1e-4 >= 0
    assert excess < 0.004 + 0.002 * math.log2(1 + sigma), "bits per symbol lost to integer frequencies"
    assert table[-1] / TOTAL < 3e-3, "the escape is rare"


def test_opposite_fractions_are_mirror_images(bank: GaussianTables) -> None:
    for scale in range(SCALES):
        below, centred, above = bank.tables[scale * FRACTIONS + 1 : (scale + 1) * FRACTIONS]
        for table, mirrored in ((below, above), (centred, centred)):
            difference = np.abs(table[:-1][::-1] - mirrored[:-1])
            # To one unit; but one of two equal largest entries takes all that flooring leaves over.
            difference[[int(mirrored.argmax()), len(table) - 2 - int(table.argmax())]] = 0
            assert difference.max() <= 1
            assert abs(int(table[-1]) - int(mirrored[-1])) <= 1
            assert abs(int(table.max()) - int(mirrored.max())) <= 2


def test_bits_are_the_code_lengths(bank: GaussianTables) -> None:
    reach = int(bank.supports[-1])
    assert bank.bits.shape == (2 * reach + 1, SCALES * FRACTIONS)
    narrow = bank.tables[2]
    assert bank.bits[reach, 2] == pytest.approx(-math.log2(narrow[int(bank.supports[0])] / TOTAL))
    outside = reach + int(bank.supports[0]) + 1
    assert bank.bits[outside, 2] == pytest.approx(escapes.ESCAPED_BITS - math.log2(narrow[-1] / TOTAL))
    kraft = (2.0 ** -bank.bits[:, -FRACTIONS:]).sum(axis=0)
    assert (kraft <= 1 + 1e-9).all(), "no code is shorter than a decodable one"


def test_the_checkpoint_carries_the_tables() -> None:
    state = GaussianTableBuffers().state_dict()
    assert set(state) == {"support", "frequencies"}
    assert state["frequencies"].sum() == TOTAL * SCALES * FRACTIONS


def test_the_literals_are_what_their_comments_say() -> None:
    assert round(2**TABLES_PER_LOG_BITS / STEP) == TABLES_PER_LOG
    assert round(-math.log(SMALLEST) / STEP * UNITS_PER_TABLE) == TABLE_OF_ONE
