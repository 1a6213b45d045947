import numpy as np
import torch

from components.entropy.pixels import logistic_mixture as logistics
from components.entropy.pixels.rans import TOTAL


def test_tables_are_frequencies() -> None:
    tables = logistics.tables().numpy()
    assert tables.shape == (logistics.FRACTIONS * logistics.SCALES * logistics.WEIGHTS, 256)
    assert (tables >= 0).all()
    assert (tables.sum(axis=1) == TOTAL).all()
    assert (tables[:, logistics.ESCAPE] > 0).all(), "every value can escape"


def test_tables_say_what_training_says() -> None:
    """The cost of coding draws of the continuous mixture with the table of its numbers, escapes included."""
    tables = torch.cat((logistics.tables()[:, 128:], logistics.tables()[:, :128]), dim=1).double()
    residual = torch.arange(-128, 128, dtype=torch.float64)
    for fraction, scale, weight in ((0, 2, 0), (3, 10, 3), (7, 20, 1), (4, 25, 2)):
        distance = residual - (fraction + 0.5) / logistics.FRACTIONS
        numbers = torch.tensor([float(scale), float(weight)], dtype=torch.float64)
        bits = logistics.bits(distance, numbers[0], numbers[1])
        mass = 2.0**-bits
        assert 0.95 < mass.sum() < 1.001
        row = tables[logistics.row_of(*(np.int32(n) for n in (fraction, scale, weight)))]  # type: ignore[arg-type]
        cost = torch.where(row > 0, -(row / TOTAL).log2(), -(row[0] / TOTAL).log2() + 8)
        ideal = (mass * bits).sum() / mass.sum()
        assert abs((mass * cost).sum() / mass.sum() - ideal) < 0.01 + 0.005 * ideal


def test_wider_scales_and_weights_are_wider() -> None:
    far, near = torch.tensor(20.0), torch.tensor(0.0)
    for numbers in (((5.0, 1.0), (15.0, 1.0)), ((10.0, 0.0), (10.0, 3.0))):
        narrow, wide = (
            (logistics.bits(far, *torch.tensor(n)), logistics.bits(near, *torch.tensor(n))) for n in numbers
        )
        assert wide[0] < narrow[0]
        assert wide[1] > narrow[1]
