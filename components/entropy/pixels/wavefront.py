"""Wavefront order of a causal predictor: many pixels of a picture are predicted and decoded at once.

A picture is cut into horizontal strips, and a strip into independent tiles. In each tile, row r is LAG columns behind
row r - 1. So all context pixels of a front's pixels lie on earlier fronts, and all that lies on one front, in every
tile, is predicted and decoded at once:

    . . . . . 4 5      the number of the front, where LAG is 2
    . . . 2 3 4 5
    . 0 1 2 3

Fronts are stored one after another, (fronts, 6, tiles, rows): the context of a front is then a set of slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .neighbourhood import LAG, NEAREST, NEIGHBOURS, PLANES, REACH_LEFT, REACH_RIGHT, REACH_UP

Floats = NDArray[np.float32]
Planes = NDArray[np.int16]

_TILE = 64, 256  # rows and columns of a tile at the most
_STRIP = 1 << 20  # pixels of a strip, about, at the most
_BEFORE = LAG * REACH_UP + REACH_LEFT  # fronts that there must be before the first
_BLANK = (128.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # values and errors outside the picture
_VALUES, _ERRORS = slice(0, PLANES), slice(PLANES, 2 * PLANES)


def strips(height: int, width: int) -> Iterator[slice]:
    """The rows of each horizontal strip of a picture, of about 2^20 pixels at most."""
    rows = _TILE[0] * max(1, _STRIP // (_TILE[0] * width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


@dataclass
class Front:
    """Pixels that are predicted at once: n = tiles * rows of them."""

    context: Floats
    """(K, 3, n): values of the context pixels."""
    context_errors: Floats
    """(len(NEAREST), 3, n): errors of the predictions of the nearest context pixels."""
    values: Floats
    """(3, tiles, rows): values of the pixels; a view, to be filled by a decoder."""
    errors: Floats
    """(3, tiles, rows): errors of their predictions; a view, to be filled."""
    coded: NDArray[np.intp] | None
    """Flat indices of the pixels inside the picture; None for all."""


class Wavefront:
    """The fronts of a strip of `height` x `width` pixels.

    Context pixels outside a tile have stand-ins that are decoded by then. Left of a tile: the pixel above the row (in
    the first row, a blank). Right of it: its last column. Above it: its first row, shifted to the right.
    """

    def __init__(self, height: int, width: int):
        self._size = height, width
        rows, columns = (-(-side // -(-side // most)) for side, most in zip((height, width), _TILE, strict=True))
        self._rows, self._columns = rows, columns
        self._grid = -(-height // rows), -(-width // columns)
        self._last = columns + LAG * (rows - 1)
        shape = (_BEFORE + self._last + LAG + REACH_RIGHT, len(_BLANK), self._grid[0] * self._grid[1], REACH_UP + rows)
        self._fronts = np.empty(shape, dtype=np.float32)
        self._fronts[:] = np.reshape(_BLANK, (1, -1, 1, 1))

    def load(self, planes: Planes) -> None:
        """Store the values of planes (3, height, width), for an encoder."""
        (height, width), (down, across) = self._size, self._grid
        whole = np.pad(planes, ((0, 0), (0, down * self._rows - height), (0, across * self._columns - width)))
        tiles = whole.reshape(PLANES, down, self._rows, across, self._columns)
        self._tiles()[:] = tiles.transpose(0, 1, 3, 2, 4)

    def planes(self) -> Planes:
        """The stored values (3, height, width)."""
        down, across = self._grid
        tiles = self._tiles().transpose(0, 1, 3, 2, 4).astype(np.int16)
        whole = tiles.reshape(PLANES, down * self._rows, across * self._columns)
        return whole[:, : self._size[0], : self._size[1]]

    def walk(self) -> Iterator[Front]:
        """Every front in order; the values of one must be there before the next is asked for."""
        for time in range(self._last):
            first = max(0, -((self._columns - 1 - time) // LAG))
            last = min(self._rows - 1, time // LAG)
            if first > last:
                continue
            here = self._at(time, first, last)
            context = self._context(time, first, last, NEIGHBOURS, _VALUES)
            errors = self._context(time, first, last, NEAREST, _ERRORS)
            inside = self._inside(time, first, last)
            coded = None if inside is None else np.flatnonzero(inside)
            yield Front(context, errors, here[_VALUES], here[_ERRORS], coded)
            if inside is not None:
                np.copyto(here, self._at(time - 1, first, last), where=~inside)
            self._extend_borders(time)

    def _at(self, time: int, first: int, last: int) -> Floats:
        """(6, tiles, rows) values and errors of a front, from its first to its last row."""
        return self._fronts[_BEFORE + time, :, :, REACH_UP + first : REACH_UP + last + 1]

    def _context(self, time: int, first: int, last: int, offsets: tuple[tuple[int, int], ...], planes: slice) -> Floats:
        """(offsets, 3, n) values or errors at offsets from the pixels of a front."""
        found = np.empty((len(offsets), PLANES, self._fronts.shape[2], last - first + 1), dtype=np.float32)
        for there, (up, left) in zip(found, offsets, strict=True):
            there[:] = self._at(time - LAG * up - left, first - up, last - up)[planes]
        return found.reshape(len(offsets), PLANES, -1)

    def _tiles(self) -> Floats:
        """(3, down, across, rows, columns): a view of the values as tiles."""
        inside = self._fronts[_BEFORE:, _VALUES, :, REACH_UP:]
        time, plane, tile, row = inside.strides
        down, across = self._grid
        shape = (PLANES, down, across, self._rows, self._columns)
        return as_strided(inside, shape, (plane, across * tile, tile, row + LAG * time, time))

    def _inside(self, time: int, first: int, last: int) -> NDArray[np.bool_] | None:
        """(tiles, rows): mask of the pixels inside the picture; None where tiles fill it exactly."""
        (height, width), (down, across) = self._size, self._grid
        if height == down * self._rows and width == across * self._columns:
            return None
        rows = np.arange(first, last + 1)
        below = self._rows * np.arange(down)[:, None] + rows < height
        within = self._columns * np.arange(across)[:, None] + time - LAG * rows < width
        return (below[:, None] & within[None]).reshape(down * across, -1)

    def _extend_borders(self, time: int) -> None:
        """Copy what is known after a front to the stand-ins around tiles."""
        at, fronts = _BEFORE + time, self._fronts
        row, rest = divmod(time, LAG)
        if rest == 0 and row + 1 < self._rows:  # the first column: what the next row has to its left
            fronts[at + LAG - REACH_LEFT : at + LAG, :, :, REACH_UP + row + 1] = fronts[at, :, :, REACH_UP + row]
        row, rest = divmod(time - self._columns + 1, LAG)
        if rest == 0 and 0 <= row < self._rows:  # the last column
            fronts[at + 1 : at + 1 + REACH_RIGHT, :, :, REACH_UP + row] = fronts[at, :, :, REACH_UP + row]
        if time < self._columns:  # the first row
            for up in range(1, REACH_UP + 1):
                fronts[at + REACH_RIGHT + 1 - LAG * up, :, :, REACH_UP - up] = fronts[at, :, :, REACH_UP]
