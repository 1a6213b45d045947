"""What an encoder sends: rounding is the nearest value, and there may be one nearly as near that takes fewer bits."""

from collections.abc import Callable

import torch
from torch import Tensor

_SQUARES_PER_BIT = 0.05
"""Squared quantiser steps that a bit is worth: what gave the best pictures at equal rates (docs/experiments.md)."""


def rdo_quantised(steps: Tensor, bits: Callable[[Tensor], Tensor]) -> Tensor:
    """Values in quantiser steps to whole numbers, in any shape: the nearest or the next, by error and `bits`."""
    nearest = steps.round()
    other = nearest + torch.sign(steps - nearest)

    def cost(chosen: Tensor) -> Tensor:
        return (steps - chosen).square() + _SQUARES_PER_BIT * bits(chosen)

    return torch.where(cost(other) < cost(nearest), other, nearest)
