"""Initial weights from which transforms are invertible from the first step.

Random weights alone take thousands of steps to find an invertible map. Here a convolution starts as a mixing of
channels, mostly an orthogonal one that its mirror undoes, times a spatial kernel.
"""

import math

import torch
from torch import Tensor, nn

_JITTER = 0.1  # of the usual random initial weights


def start(conv: nn.Conv2d | nn.ConvTranspose2d, mixing: Tensor, kernel: Tensor) -> None:
    """Weights `mixing` (out x in, or in x out of a transposed convolution) times a spatial kernel, and some jitter."""
    noise = nn.init.xavier_normal_(torch.empty_like(conv.weight), gain=_JITTER)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(mixing[:, :, None, None] * kernel + noise)
        conv.bias.zero_()


def orthogonal(rows: int, columns: int) -> Tensor:
    """A random matrix with orthonormal rows or columns, whichever are fewer."""
    return nn.init.orthogonal_(torch.empty(rows, columns))


def identity(side: int = 3) -> Tensor:
    """A kernel that passes the middle."""
    kernel = torch.zeros(side, side)
    kernel[side // 2, side // 2] = 1
    return kernel


def smooth(side: int) -> Tensor:
    """A binomial kernel with sum 1."""
    row = torch.tensor([float(math.comb(side - 1, k)) for k in range(side)])
    return torch.outer(row, row) / row.sum() ** 2
