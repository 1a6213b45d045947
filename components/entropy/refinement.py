"""Refinement: an encoder improves the latents of one picture by gradient before it rounds them.

Stochastic Gumbel annealing (Yang, Bamler and Mandt, NeurIPS 2020, arXiv 2006.04240) replaces rounding by a noisy value
between the two nearest integers, which comes closer to one of them step by step, and descends on the codec's loss. It
takes thousands of steps. Departures, for tens of them: it starts from what the default encoder decides; the fewer the
steps, the less noise; an element with a small gradient moves in proportion to it, so that elements which matter little
stay; and the end is decided on, not rounded. The settings were found on pictures of CID22 (docs/experiments.md).
"""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Relaxation = Callable[[Tensor], Tensor]
"""Maps values in quantiser steps to values near integers, element by element, with a gradient."""


@runtime_checkable
class RefinableEntropyModel(Protocol):
    """An entropy model of latents y (1, C, h, w) with hyper-latents z, both of which an encoder may choose."""

    def hyper_latents(self, y: Tensor) -> Tensor:
        """z of y, before rounding."""

    def relaxed(self, y: Tensor, z: Tensor, gain: float, relax: Relaxation) -> tuple[Tensor, Tensor]:
        """y_hat, and the bits of both, with `relax` in place of rounding and gradients to y and z."""

    def near_decisions(self, y: Tensor, z: Tensor, gain: float) -> Tensor:
        """y, moved near the integers that the default encoder sends for it: where a refinement starts."""

    def encode_rounded(self, y: Tensor, z: Tensor, gain: float) -> tuple[bytes, ...]:
        """Round both, and code them to sections."""

    def encode_refined(self, y: Tensor, z: Tensor, gain: float) -> tuple[bytes, ...]:
        """Decide on refined y, round refined z, and code them to sections."""


_LEARNING_RATE, _SHORT = (
    0.05,
    20,
)  # in quantiser steps, of so many gradients or fewer; less by 1 / sqrt(gradients) of more
_LAST_RATE = 0.1  # of the cosine schedule, as a share of the first one
_HYPER_SHARE = 0.5  # of the learning rate, for z: it steers the rate of many elements
_NOISE, _MOST_NOISE = 0.04, 0.5  # for each sqrt(gradients), and at most; 1 is Gumbel's
_HOTTEST, _COLDEST = 0.3, 0.2  # the first and the last temperature
_MOMENTUM, _MEMORY = 0.7, 0.9  # Adam's betas
_DAMPING = 3.0  # what a gradient is divided by at the least, in root mean squares of all elements
_START = 0.45  # at most, from the decided integer: nearer to it, soft rounding has no gradient
REFINED_SQUARES_PER_BIT = 0.01
"""Squared quantiser steps that a bit is worth once elements are refined, as rate has moved them already."""
_EDGE = 1e-4  # distance from the integers at which log-odds stay finite


def refine(
    y: Tensor,
    z: Tensor,
    loss: Callable[[Tensor, Tensor, Relaxation], Tensor],
    *,
    step_size: float,
    steps: int,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """Latents y and hyper-latents z with a lower loss after rounding.

    Equal arguments give equal results: the noise has a seed of its own.

    Args:
        y: before rounding, in any shape.
        z: likewise, with quantiser steps of 1.
        loss: of y, z and what replaces rounding, a scalar.
        step_size: the quantiser step of y.
        steps: number of gradients.
        on_step: called after each.

    Returns:
        y and z, to be rounded.
    """
    generator = torch.Generator(y.device).manual_seed(0)
    variables = [y.detach().clone(), z.detach().clone()]
    learning_rate = _LEARNING_RATE * min(1.0, math.sqrt(_SHORT / steps))
    optimisers = [_DampedAdam(learning_rate * step_size), _DampedAdam(learning_rate * _HYPER_SHARE)]
    noise = min(_MOST_NOISE, _NOISE * math.sqrt(steps))
    for step in range(steps):
        progress = step / max(1, steps - 1)
        temperature = _HOTTEST * (_COLDEST / _HOTTEST) ** progress

        def relax(values: Tensor, temperature: float = temperature) -> Tensor:
            return soft_rounded(values, temperature, noise, generator)

        with torch.enable_grad():
            leaves = [variable.requires_grad_() for variable in variables]
            gradients = torch.autograd.grad(loss(leaves[0], leaves[1], relax), leaves)
        share = _LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * progress)) / 2
        variables = [
            variable.detach() - share * optimiser.step(gradient)
            for variable, optimiser, gradient in zip(variables, optimisers, gradients, strict=True)
        ]
        on_step()
    return variables[0], variables[1]


def soft_rounded(values: Tensor, temperature: float, noise: float, generator: torch.Generator) -> Tensor:
    """Values between the two nearest integers, the nearer to one of them the lower the temperature.

    Args:
        values: in quantiser steps.
        temperature: positive.
        noise: scale of the logistic noise that is added to the log-odds of the upper integer; 1 is Gumbel's.
        generator: draws the noise.

    Returns:
        Of the same shape, with a gradient.
    """
    low = values.detach().floor()
    share = (values - low).clamp(_EDGE, 1 - _EDGE)
    log_odds = (torch.atanh(share) - torch.atanh(1 - share)) / temperature
    uniform = torch.rand(values.shape, generator=generator, device=values.device)
    return low + torch.sigmoid((log_odds + noise * torch.logit(uniform, eps=1e-6)) / temperature)


def moved_near(values: Tensor, decisions: Tensor) -> Tensor:
    """Values in quantiser steps, moved so far that they round to the decisions (whole numbers)."""
    return decisions + (values - decisions).clamp(-_START, _START)


class _DampedAdam:
    """Adam of one tensor, except that gradients below the root mean square of all elements count in proportion."""

    def __init__(self, learning_rate: float):
        self._learning_rate = learning_rate
        self._mean: Tensor | float = 0.0
        self._square: Tensor | float = 0.0
        self._steps = 0

    def step(self, gradient: Tensor) -> Tensor:
        """What to subtract."""
        self._steps += 1
        self._mean = _MOMENTUM * self._mean + (1 - _MOMENTUM) * gradient
        self._square = _MEMORY * self._square + (1 - _MEMORY) * gradient.square()
        mean = self._mean / (1 - _MOMENTUM**self._steps)
        scale = (self._square / (1 - _MEMORY**self._steps)).sqrt() + _DAMPING * gradient.square().mean().sqrt()
        return self._learning_rate * mean / scale.clamp_min(torch.finfo(gradient.dtype).tiny)
