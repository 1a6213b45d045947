import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from components.layers.vgg import Vgg19, perceptual_loss

pytestmark = pytest.mark.usefixtures("one_thread")
RECORDED = json.loads((Path(__file__).parent / "torchvision_vgg19.json").read_text())
"""Names and shapes in vgg19().state_dict() of torchvision 0.29.2."""
FEATURES = {key: shape for key, shape in RECORDED.items() if key.startswith("features.")}
POOLS = (4, 9, 18, 27, 36)


@pytest.fixture(scope="module")
def whole() -> Vgg19:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vgg = Vgg19(layers=37)
        for key, value in vgg.state_dict().items():
            if key.endswith("bias"):
                value.normal_(std=0.1)
        return vgg


def truncated(whole: Vgg19, layers: int) -> Vgg19:
    with torch.device("meta"):
        vgg = Vgg19(layers)
    state = whole.state_dict()
    vgg.load_state_dict({key: state[key] for key in vgg.state_dict()}, assign=True)
    return vgg


def pictures(count: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side + 5, generator=torch.Generator().manual_seed(seed))


def by_definition(state: dict[str, Tensor], layers: int, x: Tensor) -> Tensor:
    """Functions alone."""
    channels = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    x = torch.stack([(x[:, k] - mean) / std for k, (mean, std) in enumerate(channels)], dim=1)
    for k in range(layers):
        if f"features.{k}.weight" in FEATURES:
            x = F.conv2d(x, state[f"features.{k}.weight"], state[f"features.{k}.bias"], padding=1)
        else:
            x = F.max_pool2d(x, kernel_size=2, stride=2) if k in POOLS else F.relu(x)
    return x


def test_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        state = Vgg19().state_dict()
    assert [(key, list(value.shape)) for key, value in state.items()] == list(FEATURES.items())


@pytest.mark.parametrize("layers", [1, 2, 5, 11, 36, 37])
def test_the_architecture(whole: Vgg19, layers: int) -> None:
    x = pictures(2, 32)
    kept = x.clone()
    y = truncated(whole, layers)(x)
    assert torch.equal(x, kept), "an operation in place reached the input"
    assert y.std() > 0.01
    torch.testing.assert_close(y, by_definition(whole.state_dict(), layers, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("side", "expected"), [(16, 1), (32, 2), (50, 3)])
def test_output_shape(side: int, expected: int) -> None:
    with torch.device("meta"):
        assert Vgg19()(torch.empty(2, 3, side, 64)).shape == (2, 512, expected, 4)


def test_vgg_is_frozen_and_deterministic(whole: Vgg19) -> None:
    vgg = truncated(whole, 36)
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    x = pictures(1, 16)
    assert torch.equal(vgg.train()(x), vgg.eval()(x))


def test_perceptual_loss_per_picture(whole: Vgg19) -> None:
    vgg = truncated(whole, 36)
    a, b = pictures(3, 16), pictures(3, 16, seed=1)
    b[1] = a[1]
    loss = perceptual_loss(vgg, a, b)
    assert loss.shape == (3,)
    assert loss[1] == 0
    for k in (0, 2):
        expected = (vgg(a[k : k + 1]) - vgg(b[k : k + 1])).abs().mean()
        assert expected > 0
        torch.testing.assert_close(loss[k], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(perceptual_loss(vgg, b, a), loss)


def test_perceptual_loss_has_a_gradient_to_the_pictures_alone(whole: Vgg19) -> None:
    vgg = truncated(whole, 11)
    a, b = pictures(2, 16), pictures(2, 16, seed=1).requires_grad_()
    loss = perceptual_loss(vgg, a, b).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert b.grad is not None
    assert torch.isfinite(b.grad).all()
    assert all(parameter.grad is None for parameter in vgg.parameters())
    with torch.no_grad():
        nearer = perceptual_loss(vgg, a, b - 1e-3 * b.grad / b.grad.abs().max()).sum()
    assert nearer < loss
