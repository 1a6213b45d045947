"""The order in which a causal predictor goes through a picture, and what it sees there.

A picture is cut into bands, a band into tiles that know nothing of each other. In each tile, row r is LAG columns
behind row r - 1, so that all that lies on one front, in every tile, is predicted and decoded at once:

    . . . . . 4 5      the number of the front, where LAG is 2
    . . . 2 3 4 5
    . 0 1 2 3

Fronts are stored one after another: what a front sees of others are slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from components.entropy.pixels.causal_mlp import LAG, NEAREST, NEIGHBOURS, PLANES, REACH_LEFT, REACH_RIGHT, REACH_UP

Floats = NDArray[np.float32]
Planes = NDArray[np.int16]

_TILE = 64, 256  # rows and columns of a tile at the most
_STRIP = 1 << 20  # pixels of a band, about, at the most
_BEFORE = LAG * REACH_UP + REACH_LEFT  # fronts that there must be before the first
_BLANK = (128.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # what is seen where nothing is
_VALUES, _ERRORS = slice(0, PLANES), slice(PLANES, 2 * PLANES)


def strips(height: int, width: int) -> Iterator[slice]:
    """The rows of each band of a picture."""
    rows = _TILE[0] * max(1, _STRIP // (_TILE[0] * width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


@dataclass
class Front:
    """Pixels that are predicted at once: n = tiles * rows of them."""

    context: Floats
    """(K, 3, n): the neighbours."""
    context_errors: Floats
    """(NEAREST, 3, n): how far predictions of the nearest neighbours were off."""
    values: Floats
    """(3, tiles, rows): what is here; a view to be filled."""
    errors: Floats
    """(3, tiles, rows): how far predictions were off here; a view to be filled."""
    coded: NDArray[np.intp] | None
    """The numbers of those that belong to the picture; None for all."""


class Wavefront:
    """The fronts of `height` x `width` pixels.

    Left of a tile is what lies above (in the first row, nothing), right of it its last column once more, above it its
    first row, moved to the right as far as it takes to be known.
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
        """Put planes (3, height, width) where `walk` comes by."""
        (height, width), (down, across) = self._size, self._grid
        whole = np.pad(planes, ((0, 0), (0, down * self._rows - height), (0, across * self._columns - width)))
        tiles = whole.reshape(PLANES, down, self._rows, across, self._columns)
        self._tiles()[:] = tiles.transpose(0, 1, 3, 2, 4)

    def planes(self) -> Planes:
        """What `walk` left behind: (3, height, width)."""
        down, across = self._grid
        tiles = self._tiles().transpose(0, 1, 3, 2, 4).astype(np.int16)
        whole = tiles.reshape(PLANES, down * self._rows, across * self._columns)
        return whole[:, : self._size[0], : self._size[1]]

    def walk(self) -> Iterator[Front]:
        """Every front in its turn; the next one wants this one's values."""
        for time in range(self._last):
            first = max(0, -((self._columns - 1 - time) // LAG))
            last = min(self._rows - 1, time // LAG)
            if first > last:
                continue
            here = self._at(time, first, last)
            seen, errors = (
                self._around(time, first, last, *what) for what in ((NEIGHBOURS, _VALUES), (NEAREST, _ERRORS))
            )
            belongs = self._belongs(time, first, last)
            coded = None if belongs is None else np.flatnonzero(belongs)
            yield Front(seen, errors, here[_VALUES], here[_ERRORS], coded)
            if belongs is not None:
                np.copyto(here, self._at(time - 1, first, last), where=~belongs)
            self._go_around(time)

    def _at(self, time: int, first: int, last: int) -> Floats:
        """(6, tiles, rows) of a front."""
        return self._fronts[_BEFORE + time, :, :, REACH_UP + first : REACH_UP + last + 1]

    def _around(self, time: int, first: int, last: int, places: tuple[tuple[int, int], ...], planes: slice) -> Floats:
        """(places, 3, n) of what lies around a front."""
        found = np.empty((len(places), PLANES, self._fronts.shape[2], last - first + 1), dtype=np.float32)
        for there, (up, left) in zip(found, places, strict=True):
            there[:] = self._at(time - LAG * up - left, first - up, last - up)[planes]
        return found.reshape(len(places), PLANES, -1)

    def _tiles(self) -> Floats:
        """(3, down, across, rows, columns): a view of what the tiles hold."""
        inside = self._fronts[_BEFORE:, _VALUES, :, REACH_UP:]
        time, plane, tile, row = inside.strides
        down, across = self._grid
        shape = (PLANES, down, across, self._rows, self._columns)
        return as_strided(inside, shape, (plane, across * tile, tile, row + LAG * time, time))

    def _belongs(self, time: int, first: int, last: int) -> NDArray[np.bool_] | None:
        """(tiles, rows): what belongs to the picture; None where all does."""
        (height, width), (down, across) = self._size, self._grid
        if height == down * self._rows and width == across * self._columns:
            return None
        rows = np.arange(first, last + 1)
        below = self._rows * np.arange(down)[:, None] + rows < height
        within = self._columns * np.arange(across)[:, None] + time - LAG * rows < width
        return (below[:, None] & within[None]).reshape(down * across, -1)

    def _go_around(self, time: int) -> None:
        """Copy what is known after a front to the places around tiles that stand for it."""
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
