import math

import pytest

from components.rate.lambda_controller import LambdaController


class PowerLaw:
    """A codec in training: its rate follows lmbda^slope, and closes a share of the gap at each validation."""

    def __init__(self, slope: float, follows: float, start_bpp: float):
        self.slope, self.follows, self.log_bpp = slope, follows, math.log(start_bpp)

    def bpp(self, lmbda: float) -> float:
        settled = math.log(0.3) + self.slope * math.log(lmbda / 0.01)
        self.log_bpp += self.follows * (settled - self.log_bpp)
        return math.exp(self.log_bpp)


@pytest.mark.parametrize("raises_rate", [True, False])
@pytest.mark.parametrize("slope", [0.4, 0.55, 0.8])
@pytest.mark.parametrize("follows", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("start", [1e-4, 0.01, 1.0])
def test_it_converges(raises_rate: bool, slope: float, follows: float, start: float) -> None:
    controller = LambdaController(0.15, start, raises_rate)
    codec = PowerLaw(slope if raises_rate else -slope, follows, start_bpp=1.5)
    rates = []
    for _ in range(40):
        rates.append(codec.bpp(controller.lmbda))
        controller.update(rates[-1])
    assert rates[-1] == pytest.approx(0.15, rel=0.02)
    assert max(abs(math.log(r / 0.15)) for r in rates[25:]) < 0.25, "and stays there"


def test_one_step_by_hand() -> None:
    controller = LambdaController(0.15, 0.01, raises_rate=False)
    bpp = 0.15 * math.exp(0.22)
    assert controller.update(bpp) == controller.lmbda == pytest.approx(0.01 * math.exp(0.5 * 0.22 / 0.55))
    controller = LambdaController(0.15, 0.01, raises_rate=True)
    assert controller.update(bpp) == pytest.approx(0.01 * math.exp(-0.5 * 0.22 / 0.55))


def test_on_target_nothing_moves() -> None:
    assert LambdaController(0.15, 0.01, raises_rate=True).update(0.15) == pytest.approx(0.01, rel=1e-12)


@pytest.mark.parametrize(("bpp", "factor"), [(100.0, 2.0), (1e-4, 0.5)])
def test_a_step_is_at_most_a_factor_of_two(bpp: float, factor: float) -> None:
    assert LambdaController(0.15, 0.01, raises_rate=False).update(bpp) == pytest.approx(0.01 * factor)
    assert LambdaController(0.15, 0.01, raises_rate=True).update(bpp) == pytest.approx(0.01 / factor)
