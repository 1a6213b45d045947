"""Transforms of large pictures in tiles that overlap, so that memory is bounded and no seam shows."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_tiles(transform: Callable[[Tensor], Tensor], x: Tensor, scale: float, tile: int, halo: int) -> Tensor:
    """`transform(x)`, computed in tiles of `tile` by `tile` elements of x where it is larger than one.

    `transform` maps (1, C, h, w) to (1, C', scale * h, scale * w) and looks no further than about `halo` elements:
    every tile sees that much of its neighbours, and what it makes of them is cut off. Sides, `tile` and `halo` are
    such that their products with `scale` are whole.
    """
    x = x.contiguous(memory_format=torch.channels_last)  # in which convolutions on CPUs take a third less time
    height, width = x.shape[-2:]
    if max(height, width) <= tile + halo:
        return transform(x)

    def scaled(length: int) -> int:
        return round(scale * length)

    out: Tensor | None = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            above, before = min(top, halo), min(left, halo)
            piece = x[..., top - above : top + tile + halo, left - before : left + tile + halo]
            made = transform(piece)
            if out is None:
                out = made.new_empty(*made.shape[:2], scaled(height), scaled(width))
            target = out[..., scaled(top) : scaled(top + tile), scaled(left) : scaled(left + tile)]
            made = made[..., scaled(above) :, scaled(before) :]
            target.copy_(made[..., : target.shape[-2], : target.shape[-1]])
    assert out is not None
    return out
