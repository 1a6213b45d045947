"""Conditional distributions of latents given a hyperprior: a Gaussian, or a mixture of Gaussians, for each element.

In training they are likelihoods with gradients (Ballé et al. 2018; mixtures: Cheng et al. 2020).
components.coding.conditional has them in use.

Shapes: latents (B, C, h, w); parameters (B, parameters_each * C, h, w).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..coding.gaussian_tables import SMALLEST
from .gaussian_tables import GaussianTableBuffers
from .mixture_tables import MixtureTableBuffers
from .relaxation import gaussian_likelihood, lower_bound

_LARGEST_LOG_SCALE = 10.0


class GaussianConditional(nn.Module):
    """A Gaussian for each element; its symbol is the distance from the mean in quantiser steps, rounded.

    Parameters: means (C), then logarithms of scales (C).
    """

    parameters_each: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__()
        self.tables = GaussianTableBuffers()

    def from_statistics(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters (2C,) of elements that are distributed as their channel is: mean and log-scale (C,)."""
        return torch.cat((mean, log_scale))

    def centre(self, parameters: Tensor) -> Tensor:
        """The value of symbol zero: the mean (B, C, h, w)."""
        return parameters.chunk(2, dim=1)[0]

    def shifted(self, parameters: Tensor, mean: Tensor) -> Tensor:
        """Parameters (B, 2C, h, w) with `mean` (B, C, h, w) added to the means."""
        means, log_scales = parameters.chunk(2, dim=1)
        return torch.cat((means + mean, log_scales), dim=1)

    def likelihood(self, parameters: Tensor, y: Tensor, gain: Tensor) -> Tensor:
        """Probability of the quantisation interval around y.

        Args:
            parameters: (B, 2C, h, w).
            y: (B, C, h, w).
            gain: (B, C, 1, 1); the quantiser step is 1 / gain.

        Returns:
            (B, C, h, w).
        """
        mean, log_scale = parameters.chunk(2, dim=1)
        return quantised_likelihood(y, mean, log_scale, gain)


class GaussianMixtureConditional(nn.Module):
    """A mixture of K Gaussians for each element (Cheng et al. 2020); its symbol is the element in steps, rounded.

    Parameters: logits of the weights (K * C), means (K * C), logarithms of scales (K * C).
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.parameters_each = 3 * components
        self.tables = MixtureTableBuffers()

    def from_statistics(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters (3KC,) of elements that are distributed as their channel is, in every component."""
        return torch.cat([each.repeat(self.components) for each in (torch.zeros_like(mean), mean, log_scale)])

    def centre(self, parameters: Tensor) -> Tensor:
        """The value of symbol zero: zero."""
        return parameters.new_zeros(())

    def shifted(self, parameters: Tensor, mean: Tensor) -> Tensor:
        """Parameters (B, 3KC, h, w) with `mean` (B, C, h, w) added to the means of every component."""
        logits, means, log_scales = parameters.chunk(3, dim=1)
        return torch.cat((logits, means + mean.repeat(1, self.components, 1, 1), log_scales), dim=1)

    def likelihood(self, parameters: Tensor, y: Tensor, gain: Tensor) -> Tensor:
        """See GaussianConditional.likelihood; parameters are (B, 3KC, h, w)."""
        logits, means, log_scales = self._split(parameters)
        mass = quantised_likelihood(y[:, None], means, log_scales, gain[:, None])
        return (logits.softmax(dim=1) * mass).sum(dim=1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """Logits, means and log scales, (B, K, C, h, w) each."""
        shape = (len(parameters), self.components, -1, *parameters.shape[2:])
        return tuple(part.reshape(shape) for part in parameters.chunk(3, dim=1))


def quantised_likelihood(y: Tensor, mean: Tensor, log_scale: Tensor, gain: Tensor) -> Tensor:
    """Probability of the quantisation interval of width 1 / gain around y under N(mean, exp(log_scale)).

    Scales are at most exp(10), and at least 0.11 quantiser steps. All arguments broadcast.
    """
    scale = lower_bound(log_scale.clamp(max=_LARGEST_LOG_SCALE).exp() * gain, SMALLEST)
    return gaussian_likelihood((y - mean) * gain, scale)
