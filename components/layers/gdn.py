"""Generalised divisive normalisation, GDN (Ballé, Laparra and Simoncelli, ICLR 2016, arXiv 1511.06281)."""

from typing import Any

import torch
from torch import Tensor, nn

_PEDESTAL = 2.0**-18  # keeps the gradient of the square root alive at zero


class Gdn(nn.Module):
    """GDN over the channels of (B, C, H, W): y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2).

    beta and gamma are squares of the parameters, hence never negative. The sum is computed in float32 whatever the
    autocast precision: in bfloat16 it loses the small differences that normalisation is for.

    Args:
        channels: C.
        inverse: multiply by the square root instead (IGDN, for synthesis transforms).
    """

    def __init__(self, channels: int, *, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta_root = nn.Parameter(torch.ones(channels))
        self.gamma_root = nn.Parameter((0.1 * torch.eye(channels) + _PEDESTAL).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and dtype."""
        with torch.autocast(x.device.type, enabled=False):
            beta, gamma = self.beta_root.square() + _PEDESTAL, self.gamma_root.square()
            rows = x.permute(0, 2, 3, 1)
            flat: Tensor = _Normalise.apply(rows.reshape(-1, x.shape[1]).float(), beta, gamma, self.inverse)  # type: ignore[no-untyped-call]
            return flat.view(rows.shape).permute(0, 3, 1, 2).to(x.dtype)


class _Normalise(torch.autograd.Function):
    """x (n, C) times s^-1/2 (or s^1/2), s = beta + x^2 gamma^T; the gradient by hand makes half the passes
    over memory that autograd's would."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool) -> Tensor:
        pool = torch.addmm(beta, x.square(), gamma.t())
        factor = pool.sqrt_() if inverse else pool.rsqrt_()
        ctx.save_for_backward(x, gamma, factor)
        ctx.inverse = inverse
        return x * factor

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gamma, factor = ctx.saved_tensors
        (grad,) = grad_outputs
        # d factor / d s is 1 / (2 factor) for the square root and -factor^3 / 2 for its inverse.
        slope = (grad * x).div_(factor) if ctx.inverse else (grad * x).mul_(factor**3).neg_()
        grad_x = torch.addcmul(grad * factor, x, slope @ gamma)
        return grad_x, slope.sum(0).mul_(0.5), (slope.t() @ x.square()).mul_(0.5), None
