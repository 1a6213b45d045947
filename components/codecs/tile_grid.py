"""The tiles of a large picture: overlapping pieces, so that memory is bounded and no seam shows."""

from collections.abc import Iterator
from typing import NamedTuple

Window = tuple[slice, slice]
"""Rows and columns."""


class Tile(NamedTuple):
    """A piece of the input of a transform, and what its output is for.

    piece: of the input, with a border of its neighbours. inner: of the piece's output, without that border and maybe
    beyond the picture. target: of the whole output.
    """

    piece: Window
    inner: Window
    target: Window


def tiles(height: int, width: int, scale: float, tile: int, halo: int) -> Iterator[Tile]:
    """The tiles of an input of `height` by `width`; one, if it is hardly larger than a tile.

    Args:
        height: of the input, in elements.
        width: of the input, in elements.
        scale: size of the output over that of the input; its products with all lengths are whole numbers.
        tile: side of a tile, in elements of the input.
        halo: width of the border, in elements of the input.
    """
    if max(height, width) <= tile + halo:
        everything = (slice(None), slice(None))
        yield Tile(everything, everything, everything)
        return
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = _axis(top, height, scale, tile, halo), _axis(left, width, scale, tile, halo)
            yield Tile(*zip(rows, columns, strict=True))


def number_of_tiles(height: int, width: int, tile: int, halo: int) -> int:
    """How many tiles there are."""
    return 1 if max(height, width) <= tile + halo else -(-height // tile) * -(-width // tile)


def _axis(start: int, length: int, scale: float, tile: int, halo: int) -> tuple[slice, slice, slice]:
    before, end = min(start, halo), min(start + tile, length)
    first, size = round(scale * before), round(scale * (end - start))
    target = round(scale * start)
    return slice(start - before, start + tile + halo), slice(first, first + size), slice(target, target + size)
