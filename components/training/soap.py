"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., ICLR 2025, arXiv 2409.11321).

For a gradient G with axes of sizes d_1, d_2, ..., and each axis i:

    L_i <- beta L_i + (1 - beta) G_(i) G_(i)^T     G_(i) is G unfolded along axis i, so L_i is (d_i, d_i)
    Q_i <- eigenvectors of L_i                     every `refresh` steps, by one power iteration and a QR decomposition
    G'  =  G rotated by every Q_i^T
    p   <- p - rate * (Adam's step for G', rotated back by every Q_i)

Axes of size 1 and axes longer than `largest` are not rotated. A parameter without a rotated axis takes Adam's steps,
and so does a vector. No weight decay.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_EPSILON = 1e-8


class Soap(torch.optim.Optimizer):
    """The optimiser. The first step of a parameter only sets up its preconditioner, as in the authors' program.

    Its state is tensors alone: `exp_avg` and `exp_avg_sq` in the rotated basis, and for each rotated axis i
    `statistics_i` (L_i) and `basis_i` (Q_i).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.003,
        betas: tuple[float, float] = (0.95, 0.95),
        refresh: int = 20,
        largest: int = 400,
    ):
        """Set up the optimiser.

        Args:
            parameters: the tensors to optimise.
            lr: learning rate.
            betas: decay of the mean gradient, and of the squares and the statistics, per step.
            refresh: steps between two updates of the bases.
            largest: size of the longest axis that is rotated.
        """
        super().__init__(parameters, {"lr": lr, "betas": betas, "refresh": refresh, "largest": largest})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step down the gradients; returns what `closure`, if given, returned."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_of(parameter, parameter.grad, group)
        return loss

    def _step_of(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Update one parameter and its state."""
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        axes = _rotated_axes(parameter, group["largest"])
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            for axis in axes:
                state[f"statistics_{axis}"] = (1 - beta2) * _gram(gradient, axis)
                state[f"basis_{axis}"] = _eigenvectors(state[f"statistics_{axis}"])
            if axes:
                return
        state["step"] += 1
        step = state["step"].item()
        rotated = _rotate(gradient, state, axes)
        mean = state["exp_avg"].lerp_(rotated, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        direction = (mean / (1 - beta1**step)) / ((square / (1 - beta2**step)).sqrt() + _EPSILON)
        parameter.sub_(_rotate_back(direction, state, axes), alpha=group["lr"])
        for axis in axes:
            state[f"statistics_{axis}"].lerp_(_gram(gradient, axis), 1 - beta2)
        if axes and step % group["refresh"] == 0:
            self._refresh(state, axes)

    def _refresh(self, state: dict[str, Tensor], axes: list[int]) -> None:
        """Bring the bases closer to the eigenvectors of the statistics, and the moments into the new bases."""
        mean = _rotate_back(state["exp_avg"], state, axes)
        for axis in axes:
            statistics, basis = state[f"statistics_{axis}"], state[f"basis_{axis}"]
            image = statistics @ basis
            order = (basis * image).sum(dim=0).argsort(descending=True, stable=True)  # by estimated eigenvalues
            state["exp_avg_sq"].copy_(state["exp_avg_sq"].index_select(axis, order))
            basis.copy_(torch.linalg.qr(image[:, order]).Q)
        state["exp_avg"].copy_(_rotate(mean, state, axes))


def _rotated_axes(parameter: Tensor, largest: int) -> list[int]:
    """The axes that have a preconditioner; none for a vector."""
    axes = [axis for axis, size in enumerate(parameter.shape) if size > 1]
    return [axis for axis in axes if parameter.shape[axis] <= largest] if len(axes) > 1 else []


def _gram(gradient: Tensor, axis: int) -> Tensor:
    """The products of a gradient's slices along `axis`: (size, size)."""
    unfolded = gradient.movedim(axis, 0).flatten(1)
    return unfolded @ unfolded.T


def _eigenvectors(statistics: Tensor) -> Tensor:
    """Eigenvectors of a symmetric matrix as columns, the largest eigenvalue first."""
    vectors: Tensor = torch.linalg.eigh(statistics.double()).eigenvectors
    return vectors.flip(1).to(statistics.dtype).contiguous()


def _rotate(tensor: Tensor, state: dict[str, Tensor], axes: list[int]) -> Tensor:
    """The tensor in the bases of its axes."""
    for axis in axes:
        tensor = torch.tensordot(state[f"basis_{axis}"], tensor, dims=([0], [axis])).movedim(0, axis)
    return tensor


def _rotate_back(tensor: Tensor, state: dict[str, Tensor], axes: list[int]) -> Tensor:
    """The inverse of `_rotate`."""
    for axis in axes:
        tensor = torch.tensordot(state[f"basis_{axis}"], tensor, dims=([1], [axis])).movedim(0, axis)
    return tensor
