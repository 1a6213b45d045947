import pytest
import torch
from torch import nn

from components.layers.branch import WIDTHS, branches, strides
from components.layers.gdn import Gdn

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = pytest.mark.parametrize("steps", [2, 3, 4])


@STEPS
def test_strides_are_five_and_make_the_steps(steps: int) -> None:
    assert len(strides(steps)) == len(WIDTHS) == 5
    assert strides(steps).count(2) == steps
    assert strides(steps)[-2:] == [2, 2]


@STEPS
@pytest.mark.parametrize("inputs", [3, 12])
@pytest.mark.parametrize("cells", [(1, 1), (2, 3)])
def test_shapes(steps: int, inputs: int, cells: tuple[int, int]) -> None:
    height, width = (cell << steps for cell in cells)
    x = torch.randn(2, inputs, height, width, generator=torch.Generator().manual_seed(0))
    analysis, synthesis = branches(inputs, steps)
    y = analysis(x)
    assert y.shape == (2, 32, *cells)
    assert synthesis(y).shape == x.shape


@STEPS
def test_layers(steps: int) -> None:
    analysis, synthesis = branches(9, steps)
    kinds = [type(layer) for layer in analysis]
    assert kinds == [nn.Conv2d, Gdn] * 4 + [nn.Conv2d], "GDN lies between the convolutions, not after the last"
    outputs = [layer.out_channels for layer in analysis if isinstance(layer, nn.Conv2d)]
    assert outputs == list(WIDTHS)
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in synthesis) == steps
    assert not isinstance(synthesis[-1], Gdn)
    assert all(layer.inverse for layer in synthesis if isinstance(layer, Gdn))
    assert not any(layer.inverse for layer in analysis if isinstance(layer, Gdn))
    for layer in (*analysis, *synthesis):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.kernel_size == (3, 3)


@STEPS
def test_every_parameter_gets_a_gradient(steps: int) -> None:
    torch.manual_seed(0)
    branch = nn.Sequential(*branches(3, steps))
    side = 2 << steps
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    branch(x).square().sum().backward()
    for name, parameter in branch.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@STEPS
def test_a_fresh_pair_keeps_a_smooth_picture(steps: int) -> None:
    """It starts as a low-pass pyramid and its interpolation: in the middle, a flat picture comes back."""
    torch.manual_seed(0)
    analysis, synthesis = branches(3, steps)
    side = 12 << steps
    flat = torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1).expand(1, 3, side, side)
    with torch.no_grad():
        middle = synthesis(analysis(flat))[..., side // 2 - 4 : side // 2 + 4, side // 2 - 4 : side // 2 + 4]
    error = (middle - flat[..., :8, :8]).square().mean().sqrt()
    assert error < 0.5 * flat.square().mean().sqrt(), f"{error}"
