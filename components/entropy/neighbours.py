"""Convolutions of a grid that is known at some positions, at others alone.

    a b a b      a: even rows and columns; d: odd ones; b and c: the rest
    c d c d

A convolution of the whole grid, with zeros where nothing is known, would multiply those zeros, and compute positions
that nobody asks for. Here each field asked for is a sum of small convolutions of the fields known, with every second
row and column of the kernel: a fourth of the multiplications or less, and the same sums.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_Field = tuple[int, int]  # its first row and column
_KNOWN: tuple[_Field, ...] = ((0, 0), (1, 1))
_ASKED: dict[int, tuple[_Field, ...]] = {1: ((1, 1),), 2: ((0, 1), (1, 0))}


def from_neighbours(layer: nn.Conv2d, known: Sequence[Tensor]) -> Tensor:
    """What a convolution of the whole grid gives at the positions that are asked for.

    Args:
        layer: odd kernel with a padding of its half, stride 1, all channels together or each by itself.
        known: field a (B, C, h, w), to ask for d; or fields a and d, to ask for b and c.

    Returns:
        Field d (B, F, h, w); or b and c, one below the other (B, F, 2h, w).
    """
    assert layer.bias is not None
    fields = list(zip(_KNOWN, known, strict=False))
    sums = [
        torch.stack([_part(layer.weight, layer.groups, x, source, target) for source, x in fields]).sum(dim=0)
        for target in _ASKED[len(known)]
    ]
    return torch.cat(sums, dim=2) + layer.bias[:, None, None]


def _part(weight: Tensor, groups: int, x: Tensor, source: _Field, target: _Field) -> Tensor:
    """The share of one known field x in the sums of another field."""
    rows, columns = (_taps(*each, weight.shape[-1]) for each in zip(source, target, strict=True))
    kernel = weight[:, :, rows[0] :: 2, columns[0] :: 2]
    height, width = kernel.shape[-2:]
    above, before = -rows[1], -columns[1]
    padded = F.pad(x, (before, width - 1 - before, above, height - 1 - above))
    return F.conv2d(padded, kernel, groups=groups)


def _taps(source: int, target: int, side: int) -> tuple[int, int]:
    """Along one axis: the first tap of a kernel that falls on the source, and how far that lies from the target."""
    half = side // 2
    first = (source - target + half) % 2
    return first, (target + first - half - source) // 2
