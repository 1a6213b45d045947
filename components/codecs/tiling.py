"""Transforms of large pictures in overlapping tiles, in torch."""

from collections.abc import Callable

import torch
from torch import Tensor

from .tile_grid import number_of_tiles, tiles


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
    if number_of_tiles(height, width, tile, halo) == 1:
        return transform(x)
    out: Tensor | None = None
    for part in tiles(height, width, scale, tile, halo):
        transformed = transform(x[..., part.piece[0], part.piece[1]])
        if out is None:
            out = transformed.new_empty(*transformed.shape[:2], round(scale * height), round(scale * width))
        out[..., part.target[0], part.target[1]] = transformed[..., part.inner[0], part.inner[1]]
    assert out is not None
    return out
