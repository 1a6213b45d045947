"""Rate-distortion optimised quantisation (RDOQ): send the nearest integer, or the next one where it costs less."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..coding.conditional import SQUARES_PER_BIT


def rdo_quantised(steps: Tensor, bits: Callable[[Tensor], Tensor], squares_per_bit: float = SQUARES_PER_BIT) -> Tensor:
    """Quantise to the nearest or the second nearest integer, whichever costs less: squared error + weight * bits.

    The decoder needs no change: it reads the integers that were sent.

    Args:
        steps: values in quantiser steps, in any shape.
        bits: the rate of integers of that shape, element by element.
        squares_per_bit: the weight of bits, in squared quantiser steps.

    Returns:
        Whole numbers of the same shape and type.
    """
    nearest = steps.round()
    other = nearest + torch.sign(steps - nearest)

    def cost(chosen: Tensor) -> Tensor:
        return (steps - chosen).square() + squares_per_bit * bits(chosen)

    return torch.where(cost(other) < cost(nearest), other, nearest)
