import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.layers.imagenet import normalised
from components.layers.resnet import Bottleneck, ResNet

pytestmark = pytest.mark.usefixtures("one_thread")
RECORDED = json.loads((Path(__file__).parent / "torchvision_resnet101.json").read_text())
"""Names and shapes in resnet101().state_dict() of torchvision 0.29.2."""


def random_state(module: nn.Module) -> dict[str, Tensor]:
    """Fills the module with numbers that have no symmetry to hide behind, in float64."""
    random = torch.Generator().manual_seed(0)
    module.double()
    state: dict[str, Tensor] = module.state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            fresh = torch.randn(value.shape, generator=random, dtype=value.dtype)
            value.copy_(0.5 + fresh.abs() if key.endswith("running_var") else fresh * value[0].numel() ** -0.5)
    return state


def by_definition(state: dict[str, Tensor], depths: tuple[int, ...], x: Tensor) -> Tensor:
    """Functions alone, in evaluation mode."""

    def conv(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding={1: 0, 3: 1, 7: 3}[weight.shape[-1]])
        mean, var, scale, bias = (state[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, scale, bias, training=False, eps=1e-5)

    x = F.max_pool2d(conv(x, "conv1", "bn1", 2).relu(), kernel_size=3, stride=2, padding=1)
    for stage, depth in enumerate(depths, start=1):
        for k in range(depth):
            at, stride = f"layer{stage}.{k}", 2 if stage > 1 and k == 0 else 1
            body = conv(x, f"{at}.conv1", f"{at}.bn1").relu()
            body = conv(body, f"{at}.conv2", f"{at}.bn2", stride).relu()
            body = conv(body, f"{at}.conv3", f"{at}.bn3")
            skip = conv(x, f"{at}.downsample.0", f"{at}.downsample.1", stride) if k == 0 else x
            x = (body + skip).relu()
    return x


def test_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        state = ResNet().state_dict()
    ours = {key: list(value.shape) for key, value in state.items()}
    assert list(ours.items()) == [item for item in RECORDED.items() if not item[0].startswith("fc.")]


@pytest.mark.parametrize("depths", [(1, 1, 1, 1), (2, 1, 3, 1)])
def test_the_architecture(depths: tuple[int, ...]) -> None:
    network = ResNet(depths, width=8).eval()
    state = random_state(network)
    x = torch.randn(2, 3, 70, 97, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        y = network(x)
    assert y.std() > 0.01
    torch.testing.assert_close(y, by_definition(state, depths, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("side", "expected"), [(32, 1), (64, 2), (65, 3)])
def test_output_shape(side: int, expected: int) -> None:
    network = ResNet((1, 1, 1, 1), width=4)
    assert network.channels == 128
    assert network(torch.zeros(2, 3, side, side + 32)).shape == (2, 128, expected, expected + 1)
    with torch.device("meta"):
        assert ResNet((1, 1, 1, 1)).channels == 2048


def test_evaluation_is_deterministic_and_keeps_pictures_apart() -> None:
    network = ResNet((1, 1, 1, 1), width=4)
    x = torch.randn(3, 3, 64, 64)
    kept = x.clone()
    before = network(x)
    assert torch.equal(x, kept), "an operation in place reached the input"
    assert not torch.equal(network(x[:1]), before[:1])
    network.eval()
    assert torch.equal(network(x), network(x))
    torch.testing.assert_close(network(x[:1]), network(x)[:1])


@pytest.mark.parametrize(("inputs", "stride"), [(16, 1), (16, 2), (8, 1)])
def test_without_its_body_a_block_is_its_skip(inputs: int, stride: int) -> None:
    block = Bottleneck(inputs, 4, stride)
    nn.init.zeros_(block.bn3.weight)
    x = torch.rand(2, inputs, 8, 8)
    assert (block.downsample is None) == (inputs == 16 and stride == 1)
    skip = x if block.downsample is None else block.downsample(x).relu()
    assert torch.equal(block(x), skip)


def test_initial_weights() -> None:
    """He et al. with fan-out: a variance of 2 / (outputs * kernel area)."""
    torch.manual_seed(0)
    network = ResNet((1, 1, 1, 1), width=16)
    for conv in (network.conv1, network.layer4[0].conv2):
        assert isinstance(conv, nn.Conv2d)
        expected = (2 / (conv.out_channels * conv.kernel_size[0] ** 2)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    network = ResNet((2, 1, 1, 1), width=4)
    network(torch.randn(4, 3, 64, 64)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any(), name


def test_pictures_are_normalised_by_channel() -> None:
    grey = torch.full((2, 3, 4, 5), 0.5, dtype=torch.float64)
    expected = torch.tensor([0.015 / 0.229, 0.044 / 0.224, 0.094 / 0.225], dtype=torch.float64)
    torch.testing.assert_close(normalised(grey), expected.view(1, 3, 1, 1).expand(2, 3, 4, 5))
