import pytest
import torch
from torch import Tensor

from components.layers.gdn import Gdn, _Normalise

pytestmark = pytest.mark.usefixtures("one_thread")
BOTH = pytest.mark.parametrize("inverse", [False, True])


def by_definition(x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool) -> Tensor:
    """Loops over the formula: y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)."""
    out = torch.empty_like(x)
    for i in range(x.shape[1]):
        pool = beta[i] + sum(gamma[i, j] * x[:, j] ** 2 for j in range(x.shape[1]))
        out[:, i] = x[:, i] * pool.sqrt() if inverse else x[:, i] / pool.sqrt()
    return out


def lively(channels: int, inverse: bool) -> Gdn:
    """A layer whose beta and gamma have no symmetry to hide behind."""
    layer = Gdn(channels, inverse=inverse)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.beta_root.copy_(0.5 + torch.rand(channels, generator=random))
        layer.gamma_root.copy_(torch.rand(channels, channels, generator=random))
    return layer


@BOTH
def test_the_formula(inverse: bool) -> None:
    layer = lively(5, inverse)
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    beta, gamma = layer.beta_root.double().square() + 2**-18, layer.gamma_root.double().square()
    y = layer(x.float())
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), by_definition(x, beta, gamma, inverse), rtol=2e-6, atol=1e-7)


@BOTH
def test_at_the_start_channels_keep_to_themselves(inverse: bool) -> None:
    x = torch.tensor([2.0, -1.0, 0.5]).view(1, 3, 1, 1)
    power = 0.5 if inverse else -0.5
    expected = x * (1 + 0.1 * x**2) ** power
    torch.testing.assert_close(Gdn(3, inverse=inverse)(x), expected, rtol=1e-4, atol=0)


@BOTH
def test_the_gradient_by_hand_is_the_gradient(inverse: bool) -> None:
    random = torch.Generator().manual_seed(2)

    def leaf(*shape: int, low: float) -> Tensor:
        return (low + torch.rand(*shape, generator=random, dtype=torch.float64)).requires_grad_()

    x, beta, gamma = leaf(7, 4, low=-0.5), leaf(4, low=0.2), leaf(4, 4, low=0.0)

    def normalised(*tensors: Tensor) -> Tensor:
        y: Tensor = _Normalise.apply(*tensors, inverse)  # type: ignore[no-untyped-call]
        return y

    assert torch.autograd.gradcheck(normalised, (x, beta, gamma))


@BOTH
def test_the_layers_gradient_is_autograds_of_the_definition(inverse: bool) -> None:
    layer = lively(4, inverse)
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))

    def gradients(y: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((y * weights).sum(), leaves)

    x.requires_grad_()
    ours = gradients(layer(x), x, layer.beta_root, layer.gamma_root)
    y = by_definition(x, layer.beta_root.square() + 2**-18, layer.gamma_root.square(), inverse)
    for got, expected in zip(ours, gradients(y, x, layer.beta_root, layer.gamma_root), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@BOTH
def test_the_gradient_at_zero_is_finite(inverse: bool) -> None:
    layer = Gdn(3, inverse=inverse)
    with torch.no_grad():
        layer.beta_root.zero_()
    x = torch.zeros(1, 3, 2, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@BOTH
def test_the_pool_is_float32_under_bfloat16_autocast(inverse: bool) -> None:
    layer = lively(8, inverse)
    x = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(5))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), layer(x.clone()))
        under = layer(x)
        rounded = layer(x.bfloat16())
    assert under.dtype == torch.float32
    assert torch.equal(under, layer(x)), "autocast changed the arithmetic"
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded, layer(x.bfloat16().float()).bfloat16()), "only the ends are bfloat16"


def test_inverse_gdn_undoes_gdn_where_channels_are_alone() -> None:
    """With gamma = 0 both are scalings by sqrt(beta): exact inverses."""
    forward, backward = Gdn(3), Gdn(3, inverse=True)
    with torch.no_grad():
        for layer in (forward, backward):
            layer.gamma_root.zero_()
            layer.beta_root.copy_(torch.tensor([0.5, 1.0, 2.0]))
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(backward(forward(x)), x)
