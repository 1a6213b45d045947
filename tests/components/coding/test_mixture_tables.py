import math

import numpy as np

from components.coding.escapes import ESCAPED_BITS
from components.coding.fixed_point import UNIT
from components.coding.gaussian_tables import SMALLEST, STEP
from components.coding.mixture_tables import Mixtures, MixtureTables, mixture_arrays
from components.coding.range_coder import TOTAL


def random_mixtures(n: int, seed: int = 0) -> Mixtures:
    """n mixtures of three, as latents (1, 1, n)."""
    random = np.random.default_rng(seed)
    ranges = ((-4 * UNIT, 4 * UNIT), (-20 * UNIT, 20 * UNIT), (0, 48))
    return Mixtures(*(random.integers(*each, (3, 1, 1, n)).astype(np.float64) for each in ranges))


def test_frequencies_of_mixtures_are_positive_sum_up_and_are_the_mixtures() -> None:
    mixtures = random_mixtures(400)
    logits, means, tables = (part.reshape(3, -1) for part in mixtures)
    scales = SMALLEST * np.exp(STEP * tables)
    weights = np.exp(logits / UNIT)
    weights /= weights.sum(axis=0)
    coded: list[int] = []
    for batch in MixtureTables(mixture_arrays())._batches(mixtures):
        assert batch.frequencies.min() >= 1
        assert (batch.frequencies.sum(axis=1) == TOTAL).all()
        coded += batch.indices.tolist()
        for row, place in enumerate(batch.indices):
            edges = batch.first[row] + np.arange(batch.width + 1) - 0.5
            parts = (edges - means[:, place, None] / UNIT) / (scales[:, place, None] * math.sqrt(2))
            cdf = sum(
                w * np.array([0.5 * math.erfc(-v) for v in part])
                for w, part in zip(weights[:, place], parts, strict=True)
            )
            # The code that these frequencies make is hardly longer than the ideal one.
            ideal = np.append(np.diff(cdf), max(0, 1 - cdf[-1] + cdf[0])).clip(1e-12)
            excess = (ideal * np.log2(ideal / (batch.frequencies[row] / TOTAL))).sum()
            assert excess < 0.03
    assert sorted(coded) == list(range(400))


def test_code_lengths_are_those_of_the_frequencies() -> None:
    tables, mixtures = MixtureTables(mixture_arrays()), random_mixtures(200, seed=1)
    symbols = np.round(mixtures.means[0] / UNIT)
    symbols[..., ::20] = 10_000  # beyond every table
    found, escapes = tables.bits_of(symbols, mixtures).ravel(), 0
    for batch in tables._batches(mixtures):
        at = symbols.ravel()[batch.indices].astype(int) - batch.first
        beyond = at >= batch.width
        escapes += beyond.sum()
        frequencies = batch.frequencies[np.arange(len(at)), np.where(beyond, batch.width, at)]
        np.testing.assert_allclose(found[batch.indices], ESCAPED_BITS * beyond - np.log2(frequencies / TOTAL))
    assert escapes == 10
