import pytest
import torch
from torch import nn

from components.codecs.variants.wcae import DETAILS
from components.layers.branch import WIDTHS, branches, strides
from components.layers.gdn import Gdn
from components.layers.haar_initialisation import PIXELS, Band

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = pytest.mark.parametrize("steps", [2, 3, 4])


@STEPS
def test_strides_are_five_and_make_the_steps(steps: int) -> None:
    assert len(strides(steps)) == len(WIDTHS) == 5
    assert strides(steps).count(2) == steps
    assert strides(steps)[-2:] == [2, 2]


@STEPS
@pytest.mark.parametrize("bands", [PIXELS, DETAILS, PIXELS + DETAILS])
@pytest.mark.parametrize("cells", [(1, 1), (2, 3)])
def test_shapes(steps: int, bands: tuple[Band, ...], cells: tuple[int, int]) -> None:
    height, width = (cell << steps for cell in cells)
    x = torch.randn(2, len(bands), height, width, generator=torch.Generator().manual_seed(0))
    analysis, synthesis = branches(bands, steps)
    y = analysis(x)
    assert y.shape == (2, 32, *cells)
    assert synthesis(y).shape == x.shape


@STEPS
def test_layers(steps: int) -> None:
    analysis, synthesis = branches(DETAILS, steps)
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
    branch = nn.Sequential(*branches(PIXELS, steps))
    side = 2 << steps
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    branch(x).square().sum().backward()
    for name, parameter in branch.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@STEPS
@pytest.mark.parametrize("bands", [PIXELS, PIXELS + DETAILS])
def test_a_fresh_pair_keeps_the_lowest_frequencies(steps: int, bands: tuple[Band, ...]) -> None:
    """It starts as a packet and its inverse: small values, which GDN hardly touches, come back if they are smooth."""
    torch.manual_seed(0)
    analysis, synthesis = branches(bands, steps)
    side = 12 << steps
    wave = 0.05 * torch.cos(torch.pi / (1 << steps) * (torch.arange(side) + 0.5))
    x = torch.zeros(1, len(bands), side, side)
    x[:, :3] = wave
    with torch.no_grad():
        middle = slice(side // 2 - 4, side // 2 + 4)
        error = (synthesis(analysis(x)) - x)[:, :3, middle, middle].square().mean().sqrt()
    assert error < 0.5 * x[:, :3].square().mean().sqrt()
