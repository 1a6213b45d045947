import math

import numpy as np

from components.entropy.gaussian_tables import SMALLEST, STEP
from components.entropy.mixture_tables import MixtureTables
from components.entropy.range_coder import TOTAL
from components.layers.fixed_point import UNIT


def random_mixtures(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.integers(-4 * UNIT, 4 * UNIT, (3, n))
    means = random.integers(-20 * UNIT, 20 * UNIT, (3, n))
    return logits, means, random.integers(0, 48, (3, n))


def test_frequencies_of_mixtures_are_positive_sum_up_and_are_the_mixtures() -> None:
    logits, means, tables = random_mixtures(400)
    scales = SMALLEST * np.exp(STEP * tables)
    weights = np.exp(logits / UNIT)
    weights /= weights.sum(axis=0)
    coded: list[int] = []
    for batch in MixtureTables().batches(logits, means, tables):
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
