"""What stands for quantisation and its rate while a codec trains."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LIKELIHOOD_FLOOR = 1e-9


class EntropyOutput(NamedTuple):
    """Quantised latents `y_hat`, bits of each position (B, h, w), log-gain of each image (B,)."""

    y_hat: Tensor
    position_bits: Tensor
    log_gain: Tensor | None = None

    @property
    def bits(self) -> Tensor:
        """(B,) of each image."""
        return self.position_bits.flatten(1).sum(dim=1)


def sample_log_gain(y: Tensor, reach: float) -> Tensor:
    """(B,) logarithms of gains between -reach and reach for y (B, ...)."""
    return (2 * torch.rand(len(y), device=y.device) - 1) * reach


def constant_log_gain(y: Tensor, gain: float) -> Tensor:
    """(B,) logarithms of one gain for y (B, ...)."""
    return torch.full((len(y),), math.log(gain), device=y.device)


def add_uniform_noise(y: Tensor, step: Tensor | float = 1.0) -> Tensor:
    """y with uniform noise of one quantiser step: its density at whole steps is that of the quantised code."""
    return y + (torch.rand_like(y) - 0.5) * step


def round_straight_through(y: Tensor) -> Tensor:
    """Rounded values with the gradient of the identity (straight through)."""
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


def gaussian_likelihood(distance: Tensor, scale: Tensor) -> Tensor:
    """The probability of the interval of one quantiser step at `distance` from the mean of a Gaussian."""
    distance = distance.abs()  # the tail where the difference does not cancel
    return _standard_normal_cdf((0.5 - distance) / scale) - _standard_normal_cdf((-0.5 - distance) / scale)


def log_interval_probability(low: Tensor, high: Tensor) -> Tensor:
    """The logarithm of the probability of low < x < high under the unit Gaussian; in float64, as far out as may be."""
    below = (low + high > 0).to(low.dtype) * 2 - 1  # mirrored to the tail where the difference does not cancel
    low, high = torch.minimum(-below * low, -below * high), torch.maximum(-below * low, -below * high)
    upper: Tensor = torch.special.log_ndtr(high)
    return upper + torch.log1p(-(torch.special.log_ndtr(low) - upper).exp().clamp_max(1 - torch.finfo(low.dtype).eps))


def truncated_gaussian_mean(low: Tensor, high: Tensor) -> Tensor:
    """The mean of the unit Gaussian given low < x < high; in float64, or tails cancel."""
    log_mass = log_interval_probability(low, high) + 0.5 * math.log(2 * math.pi)
    mean = (-0.5 * low.square() - log_mass).exp() - (-0.5 * high.square() - log_mass).exp()
    return torch.maximum(torch.minimum(mean, high), low)


def element_bits(likelihood: Tensor) -> Tensor:
    """The bits of elements with these probabilities, each."""
    return -lower_bound(likelihood, _LIKELIHOOD_FLOOR).log2()


def position_bits(likelihood: Tensor) -> Tensor:
    """(B, h, w) bits of elements (B, C, h, w) with these probabilities, all channels together."""
    return element_bits(likelihood).sum(dim=1)


def _standard_normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-(2**-0.5) * x)


def lower_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """max(x, bound), with a gradient below the bound too where it leads back up (Balle et al. 2018)."""
    out: Tensor = _LowerBound.apply(x, torch.as_tensor(bound, dtype=x.dtype, device=x.device))  # type: ignore[no-untyped-call]
    return out
