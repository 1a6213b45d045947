"""Checkerboard partition of latents, for a context model of two passes (He et al., CVPR 2021, arXiv 2103.15306).

0 1 0 1       pass 0 has the positions whose row + column is even (anchors)
1 0 1 0       pass 1 has the others, whose nearest neighbours are all in pass 0
"""

import torch
from torch import Tensor


def checkerboard_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """The positions of passes 0 and 1 of (B, C, h, w), h and w even, each as (B, C, h, w / 2)."""
    first = torch.stack((x[..., 0::2, 0::2], x[..., 1::2, 1::2]), dim=2)
    second = torch.stack((x[..., 0::2, 1::2], x[..., 1::2, 0::2]), dim=2)
    return first.flatten(2, 3), second.flatten(2, 3)


def checkerboard_merge(first: Tensor, second: Tensor) -> Tensor:
    """Inverse of `checkerboard_split`."""
    (a, d), (b, c) = (half.chunk(2, dim=2) for half in (first, second))
    top, bottom = (torch.stack(pair, dim=-1).flatten(-2) for pair in ((a, b), (c, d)))
    return torch.stack((top, bottom), dim=-2).flatten(-3, -2)
