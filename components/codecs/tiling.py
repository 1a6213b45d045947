"""Tiling: transforms of large pictures in overlapping tiles, so that memory is bounded and no seam shows."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_tiles(transform: Callable[[Tensor], Tensor], x: Tensor, scale: float, tile: int, halo: int) -> Tensor:
    """Apply a transform tile by tile, where its input is larger than one tile.

    Every tile is transformed together with a border of its neighbours, and the result of the border is dropped. Sides,
    `tile` and `halo` must be such that their products with `scale` are whole numbers.

    Args:
        transform: maps (1, C, h, w) to (1, C', scale * h, scale * w), with a receptive field of about `halo`.
        x: (1, C, H, W).
        scale: size of the output over that of the input.
        tile: side of a tile, in elements of x.
        halo: width of the border, in elements of x.

    Returns:
        (1, C', scale * H, scale * W).
    """
    x = x.contiguous(memory_format=torch.channels_last)  # convolutions on CPUs take a third less time
    height, width = x.shape[-2:]
    if number_of_tiles(x, tile, halo) == 1:
        return transform(x)

    def scaled(length: int) -> int:
        return round(scale * length)

    out: Tensor | None = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            above, before = min(top, halo), min(left, halo)
            piece = x[..., top - above : top + tile + halo, left - before : left + tile + halo]
            transformed = transform(piece)
            if out is None:
                out = transformed.new_empty(*transformed.shape[:2], scaled(height), scaled(width))
            target = out[..., scaled(top) : scaled(top + tile), scaled(left) : scaled(left + tile)]
            inner = transformed[..., scaled(above) :, scaled(before) :]
            target.copy_(inner[..., : target.shape[-2], : target.shape[-1]])
    assert out is not None
    return out


def number_of_tiles(x: Tensor, tile: int, halo: int) -> int:
    """How many tiles `in_tiles` takes for x (1, C, H, W)."""
    height, width = x.shape[-2:]
    return 1 if max(height, width) <= tile + halo else -(-height // tile) * -(-width // tile)
