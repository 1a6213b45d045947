"""PMSC against a slow loop written from the equations of paper 000."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.errors import RatewrightError
from components.layers.multiscale import Pmsc, PmscBlock

EPSILON = 1e-5


def convolved(layers: nn.Module, x: Tensor, half: int | None = None) -> Tensor:
    """R(B(Conv(x))) by hand, of all outputs or of the half that belongs to one branch."""
    conv, norm, _ = layers.children()
    assert isinstance(conv, nn.Conv2d)
    count = conv.out_channels if half is None else conv.out_channels // 2
    rows = slice((half or 0) * count, (half or 0) * count + count)
    y = F.conv2d(x, conv.weight[rows], padding=conv.padding)
    state = {key: value[rows] for key, value in norm.state_dict().items() if value.dim()}
    mean, variance, scale, shift = (
        state[key][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    out: Tensor = ((y - mean) / (variance + EPSILON).sqrt() * scale + shift).clamp_min(0)
    return out


def slowly(module: Pmsc, x: Tensor) -> Tensor:
    """Y = Concate(Y_left, Y_right), group by group and branch by branch."""
    s = len(module.steps)
    width = x.shape[1] // s
    phi = convolved(module.inward, x)
    groups = {level: phi[:, (level - 1) * width : level * width] for level in range(1, s + 1)}
    branches = []
    for half, levels in enumerate((range(1, s + 1), range(s, 0, -1))):
        made: dict[int, Tensor] = {}
        before: list[Tensor] = []
        for step, level in zip(module.steps, levels, strict=True):
            made[level] = convolved(step, torch.cat((*before, groups[level]), dim=1), half)
            before = [made[level]]
        branches.append(torch.cat([made[level] for level in range(1, s + 1)], dim=1))
    return torch.cat(branches, dim=1)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_pmsc_follows_the_equations(groups: int) -> None:
    torch.manual_seed(groups)
    module = Pmsc(8, groups)
    with torch.no_grad():
        for _ in range(3):
            module.train()(torch.randn(2, 8, 9, 7))  # statistics that are not those of the start
        for norm in (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
        x = torch.randn(2, 8, 9, 7)
        found = module.eval()(x)
    assert found.shape == (2, 16, 9, 7)
    torch.testing.assert_close(found, slowly(module, x))


def test_the_branches_mirror_each_other() -> None:
    """The last group of the left branch sees all groups, as does the first of the right one; the ends see their own."""
    module, depends = Pmsc(8, 4).eval(), {}
    nn.init.eye_(module.inward[0].weight.view(8, 8))  # type: ignore[operator]
    x = torch.rand(1, 8, 5, 5).requires_grad_()
    for branch, group in ((0, 0), (0, 3), (1, 3), (1, 0)):
        start = 8 * branch + 2 * group
        (gradient,) = torch.autograd.grad(module(x)[:, start : start + 2].sum(), x)
        depends[branch, group] = [bool(part.abs().sum() > 0) for part in gradient.chunk(4, dim=1)]
    assert depends[0, 0] == [True, False, False, False]
    assert depends[1, 3] == [False, False, False, True]
    assert depends[0, 3] == depends[1, 0] == [True] * 4


def test_a_block_starts_as_its_skip() -> None:
    torch.manual_seed(0)
    block, x = PmscBlock(16), torch.randn(1, 16, 8, 8)
    assert torch.equal(block(x), x)


def test_channels_that_do_not_divide() -> None:
    with pytest.raises(RatewrightError, match="10 channels evenly into 4 groups"):
        Pmsc(10, 4)
