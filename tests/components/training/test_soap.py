from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from components.training.soap import Soap

Optimizers = Callable[[list[Tensor]], torch.optim.Optimizer]


def descend(start: Tensor, gradient: Callable[[Tensor], Tensor], optimizers: Optimizers, steps: int) -> Tensor:
    """Where an optimiser comes from `start`."""
    parameter = start.clone().requires_grad_()
    optimizer = optimizers([parameter])
    for _ in range(steps):
        parameter.grad = gradient(parameter.detach())
        optimizer.step()
    return parameter.detach()


def rotation(size: int, seed: int) -> Tensor:
    """A random orthogonal matrix."""
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(matrix).Q
    return basis.float()


def test_a_rotation_of_the_problem_changes_nothing() -> None:
    """Adam depends on the axes; its steps in the eigenbasis do not."""
    left, right = rotation(12, 0), rotation(8, 1)
    curvature = torch.logspace(0, -3, 96).view(12, 8)
    start = torch.ones(12, 8)
    loss = {}
    for name, optimizers in (("soap", lambda p: Soap(p, lr=0.05)), ("adam", lambda p: torch.optim.Adam(p, lr=0.05))):
        plain = descend(start, lambda x: curvature * x, optimizers, 60)

        def rotated_gradient(x: Tensor) -> Tensor:
            return left @ (curvature * (left.T @ x @ right)) @ right.T

        rotated = descend(left @ start @ right.T, rotated_gradient, optimizers, 60)
        back = left.T @ rotated @ right
        loss[name] = [float((curvature * x.square()).sum()) for x in (plain, back)]
    assert loss["soap"][1] == pytest.approx(loss["soap"][0], rel=0.1)
    assert loss["adam"][1] > 3 * loss["adam"][0]


def test_bases_are_orthogonal_and_become_eigenvectors() -> None:
    torch.manual_seed(0)
    spread = rotation(16, 2) * torch.logspace(0, -2, 16)
    parameter = torch.zeros(16, 40).requires_grad_()
    optimizer = Soap([parameter], lr=0.0, refresh=2)
    for _ in range(400):
        parameter.grad = spread @ torch.randn(16, 40)
        optimizer.step()
    state = optimizer.state[parameter]
    basis, statistics = state["basis_0"], state["statistics_0"]
    torch.testing.assert_close(basis.T @ basis, torch.eye(16), atol=1e-5, rtol=0)
    diagonal = basis.T @ statistics @ basis
    assert (diagonal - diagonal.diag().diag()).abs().max() < 0.05 * diagonal.max()
    assert diagonal.diag()[:-1].ge(0.5 * diagonal.diag()[1:]).all(), "the largest comes first"


def test_the_state_averages_all_gradients_whatever_the_bases() -> None:
    """The mean gradient, rotated back, and the products of its slices, as computed without any basis."""
    torch.manual_seed(0)
    parameter = torch.zeros(6, 4).requires_grad_()
    optimizer = Soap([parameter], lr=0.01, betas=(0.9, 0.8), refresh=3)
    mean, products = torch.zeros(6, 4), torch.zeros(6, 6)
    for number in range(13):
        gradient = torch.randn(6, 4) * torch.logspace(0, -1, 6)[:, None]
        parameter.grad = gradient
        optimizer.step()
        products.lerp_(gradient @ gradient.T, 0.2)
        if number:  # the first sets up the bases alone
            mean.lerp_(gradient, 0.1)
    state = optimizer.state[parameter]
    torch.testing.assert_close(state["basis_0"] @ state["exp_avg"] @ state["basis_1"].T, mean)
    torch.testing.assert_close(state["statistics_0"], products)


def test_squares_stay_with_their_direction() -> None:
    """The second row's gradient becomes the larger one, so the basis changes its order, and the squares with it."""
    parameter = torch.zeros(2, 5).requires_grad_()
    optimizer = Soap([parameter], betas=(0.9, 0.9), refresh=1, largest=4)
    squares = torch.zeros(2)
    for number in range(12):
        sizes = torch.tensor([1.0, 0.1] if number < 3 else [0.1, 1.0])
        parameter.grad = torch.zeros(2, 5)
        parameter.grad[0, 0], parameter.grad[1, 1] = sizes
        optimizer.step()
        if number:
            squares.lerp_(sizes.square(), 0.1)
    state = optimizer.state[parameter]
    assert state["basis_0"].abs().argmax(dim=0).tolist() == [1, 0], "the second row is the first direction now"
    torch.testing.assert_close(state["exp_avg_sq"].sum(dim=1), squares.flip(0))


@pytest.mark.parametrize("shape", [(30,), (1, 30, 1, 1), (500, 600)])
def test_what_is_not_rotated_takes_the_steps_of_adam(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    start, target = torch.randn(shape), torch.randn(shape)
    betas = (0.9, 0.95)
    mine = descend(start, lambda x: x - target, lambda p: Soap(p, lr=0.01, betas=betas), 20)
    theirs = descend(start, lambda x: x - target, lambda p: torch.optim.Adam(p, lr=0.01, betas=betas), 20)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def test_kernels_are_rotated_along_every_axis() -> None:
    parameter = torch.randn(6, 1, 5, 3).requires_grad_()
    optimizer = Soap([parameter], largest=5)
    parameter.grad = torch.randn(6, 1, 5, 3)
    optimizer.step()
    assert {name for name in optimizer.state[parameter] if name.startswith("basis")} == {"basis_2", "basis_3"}


def test_a_closure_is_called() -> None:
    parameter = torch.ones(3).requires_grad_()

    def closure() -> Tensor:
        loss = parameter.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert Soap([parameter]).step(closure) == 3
    assert (parameter < 1).all()
