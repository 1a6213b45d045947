from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.codecs.exported import session
from components.codecs.onnx_graph import onnx_model
from components.codecs.onnx_operators import OPERATORS
from components.errors import RatewrightError

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS, MULTIPLE = 8, 4


def in_rows(x: Tensor) -> Tensor:
    rows = x.permute(0, 2, 3, 1)
    flat = rows.reshape(-1, CHANNELS)
    return torch.addmm(torch.ones(CHANNELS), flat, torch.eye(CHANNELS).t()).view(rows.shape).permute(0, 3, 1, 2)


def in_blocks(x: Tensor) -> Tensor:
    _, channels, h, w = x.shape
    blocks = x.reshape(1, channels // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
    return blocks.reshape(1, channels // 4, 2 * h, 2 * w)


def interleaved(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    one, seven = torch.split(x, [1, 7], dim=1)
    wide = torch.stack((first + second, first - second), dim=4).flatten(3, 4)
    return torch.cat((wide[..., 0::2], (one * seven)[:, :4, :, :], wide[..., 1::2]), 1)


def layer(module: nn.Module) -> Callable[[Tensor], Tensor]:
    module.eval()
    return lambda x: module(x)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution": layer(nn.Conv2d(CHANNELS, 16, (3, 5), 2, (1, 2), groups=4)),
    "dilated convolution": layer(nn.Conv2d(CHANNELS, 4, 3, padding=2, dilation=2, bias=False)),
    "transposed convolution": layer(nn.ConvTranspose2d(CHANNELS, 4, 5, 2, 2, 1, groups=2)),
    "normalisation and sigmoid": lambda x: torch.sigmoid(layer(nn.BatchNorm2d(CHANNELS))(x)),
    "pooling": lambda x: F.avg_pool2d(x, 2) + F.avg_pool2d(x, 3, 2, 1),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "shuffle": lambda x: F.pixel_shuffle(x, 2),
    "unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "rows": in_rows,
    "blocks": in_blocks,
    "interleaved": interleaved,
    "in place": lambda x: (
        F.leaky_relu_(x * 2 - 1, 0.1).square().sqrt_() + F.relu_(x.tanh().abs().div(3)).add(0.5).rsqrt_()
    ),
    "matrix": lambda x: x.permute(0, 2, 3, 1) @ torch.ones(CHANNELS, 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_model_computes_what_the_function_does(name: str) -> None:
    torch.manual_seed(0)
    function = FUNCTIONS[name]
    content = onnx_model(function, CHANNELS, MULTIPLE)
    assert onnx_model(function, CHANNELS, MULTIPLE) == content
    for height, width in ((1, 5), (4, 4), (7, 1)):
        x = torch.randn(1, CHANNELS, height * MULTIPLE, width * MULTIPLE)
        with torch.no_grad():
            expected = function(x).numpy()
        (found,) = session(content, 1).run(None, {"input": x.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_operator_is_one_of_torch() -> None:
    assert not [name for name in OPERATORS if not hasattr(torch.ops.aten, name)]


def by_size(x: Tensor) -> Tensor:
    return x if x.shape[2] == MULTIPLE else x + 1


def under_a_view(x: Tensor) -> Tensor:
    y = x - 1
    F.relu_(y[:, :, ::2])
    return y


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "an operator that is unknown": (torch.erf, "no 'erf' as it is called here"),
    "an argument that is unknown": (lambda x: torch.add(x, x, alpha=2), "no 'add' as it is called here"),
    "training": (nn.BatchNorm2d(CHANNELS).train(), "no 'batch_norm' as it is called here .*training"),
    "another program for another size": (by_size, "computes otherwise for another size"),
    "a size of its own": (lambda x: x[:, :, : x.shape[2] - 1], "does not compute"),
    "a constant of its size": (lambda x: x + torch.ones(x.shape[3]), "computes otherwise for another size"),
    "a size in an argument": (lambda x: x.flatten(2)[:, :, : x.shape[2]], "does not compute what torch does"),
    "a change under a view": (under_a_view, "does not compute what torch does"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_of_another_form_is_refused(name: str) -> None:
    function, why = REFUSED[name]
    with pytest.raises(RatewrightError, match=why):
        onnx_model(function, CHANNELS, MULTIPLE)
