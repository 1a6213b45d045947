"""Differentiable relaxations of quantisation and its rate: uniform noise, straight-through rounding, likelihoods.

Training replaces round(y) by y + U(-1/2, 1/2), whose density at integers is the probability of the rounded value
(Ballé, Laparra and Simoncelli, "End-to-end optimized image compression", ICLR 2017), or keeps the rounding and passes
gradients through it unchanged. The rate is the sum of -log2 of likelihoods.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

GainRange = float | Sequence[float]
"""Log-gains that training draws: from -r to r, or from the first to the second of a pair."""

_LIKELIHOOD_FLOOR = 1e-9


class EntropyOutput(NamedTuple):
    """Result of an entropy model in training or evaluation.

    y_hat: quantised (or noisy) latents (B, C, h, w).
    position_bits: estimated bits at each position (B, h, w), all channels together, those of hyper-latents included.
    log_gain: logarithm of the gain that each image was quantised with (B,); None for models without gains.
    """

    y_hat: Tensor
    position_bits: Tensor
    log_gain: Tensor | None = None

    @property
    def bits(self) -> Tensor:
        """Estimated bits of each image (B,)."""
        return self.position_bits.flatten(1).sum(dim=1)


def sample_log_gain(y: Tensor, reach: GainRange) -> Tensor:
    """Log-gains (B,) for y (B, ...), drawn uniformly from the range."""
    low, high = reach if isinstance(reach, Sequence) else (-reach, reach)
    return (low + high) / 2 + (2 * torch.rand(len(y), device=y.device) - 1) * (high - low) / 2


def constant_log_gain(y: Tensor, gain: float) -> Tensor:
    """The logarithm of one gain for every image of y (B, ...): (B,)."""
    return torch.full((len(y),), math.log(gain), device=y.device)


def add_uniform_noise(y: Tensor, step: Tensor | float = 1.0) -> Tensor:
    """y + U(-step/2, step/2): the relaxation of a quantiser with that step (Ballé et al. 2017)."""
    return y + (torch.rand_like(y) - 0.5) * step


def round_straight_through(y: Tensor) -> Tensor:
    """round(y) with the gradient of the identity (straight-through estimator)."""
    return y + (y.round() - y).detach()


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(x, bound)
        return torch.maximum(x, bound)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        x, bound = ctx.saved_tensors
        (grad,) = grad_outputs
        return grad * ((x >= bound) | (grad < 0)), None


def lower_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """max(x, bound); below the bound, gradients that move x up pass through (Ballé et al. 2018)."""
    out: Tensor = _LowerBound.apply(x, torch.as_tensor(bound, dtype=x.dtype, device=x.device))  # type: ignore[no-untyped-call]
    return out


def gaussian_likelihood(distance: Tensor, scale: Tensor) -> Tensor:
    """Probability of the quantisation interval of width 1 around a value under a Gaussian.

    Args:
        distance: of the value from the mean, in quantiser steps.
        scale: standard deviation, in quantiser steps.
    """
    distance = distance.abs()  # the tail where the difference does not cancel
    return _standard_normal_cdf((0.5 - distance) / scale) - _standard_normal_cdf((-0.5 - distance) / scale)


def log_interval_probability(low: Tensor, high: Tensor) -> Tensor:
    """log P(low < x < high) for x ~ N(0, 1), without underflow far out; low and high are float64."""
    below = (low + high > 0).to(low.dtype) * 2 - 1  # mirrored to the tail where the difference does not cancel
    low, high = torch.minimum(-below * low, -below * high), torch.maximum(-below * low, -below * high)
    upper: Tensor = torch.special.log_ndtr(high)
    return upper + torch.log1p(-(torch.special.log_ndtr(low) - upper).exp().clamp_max(1 - torch.finfo(low.dtype).eps))


def truncated_gaussian_mean(low: Tensor, high: Tensor) -> Tensor:
    """E[x | low < x < high] for x ~ N(0, 1); low and high are float64, or tails would cancel."""
    log_mass = log_interval_probability(low, high) + 0.5 * math.log(2 * math.pi)
    mean = (-0.5 * low.square() - log_mass).exp() - (-0.5 * high.square() - log_mass).exp()
    return torch.maximum(torch.minimum(mean, high), low)


def element_bits(likelihood: Tensor) -> Tensor:
    """-log2 of likelihoods, bounded from below by 1e-9, element by element."""
    return -lower_bound(likelihood, _LIKELIHOOD_FLOOR).log2()


def position_bits(likelihood: Tensor) -> Tensor:
    """Bits of elements with likelihoods (B, C, h, w), summed over the channels: (B, h, w)."""
    return element_bits(likelihood).sum(dim=1)


def _standard_normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-(2**-0.5) * x)
