import torch

from components.entropy.rdo_quantisation import rdo_quantised


def bits(values: torch.Tensor) -> torch.Tensor:
    """Four bits for each step from zero."""
    return 4 * values.abs()


def test_equal_bits_give_plain_rounding() -> None:
    steps = torch.linspace(-3, 3, 101)
    assert torch.equal(rdo_quantised(steps, torch.ones_like), steps.round())


def test_a_value_nearly_between_two_becomes_the_cheaper() -> None:
    found = rdo_quantised(torch.tensor([[0.55, -0.55, 0.9, 1.55], [-1.55, 0.45, 0.0, 2.0]]), bits)
    assert found.tolist() == [[0, 0, 1, 1], [-1, 0, 0, 2]]


def test_bits_of_more_weight_decide_more() -> None:
    steps = torch.tensor([0.55, 0.7])
    assert rdo_quantised(steps, bits, 0.01).tolist() == [1, 1]
    assert rdo_quantised(steps, bits, 0.2).tolist() == [0, 0]


def test_no_other_of_all_whole_numbers_costs_less() -> None:
    steps = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3
    chosen = rdo_quantised(steps, bits)
    candidates = torch.arange(-15, 16)[:, None]
    costs = (steps - candidates).square() + 0.05 * bits(candidates)
    torch.testing.assert_close((steps - chosen).square() + 0.05 * bits(chosen), costs.amin(0))
