"""Lossless coding of index maps, pictures whose pixels are numbers of colours in a palette.

Most pixels of a drawing, such as text on a page, equal a neighbour. Three kinds of decisions give a pixel: whether it
is its left neighbour, otherwise whether it is the one above, otherwise the bits of its index. Each is estimated from
the decisions before with the same neighbours (`AdaptiveBits`), as JBIG2 and the palette modes of AV1 and VVC do.

The map is cut into tiles, and row r of a tile is LAG columns behind row r - 1: what lies on one front, in every tile,
is coded at once.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .adaptive_bits import MODELS, AdaptiveBits
from .neighbourhood import LAG
from .rans import Array, LaneDecoder, LaneEncoder

IndexMap = NDArray[np.uint8]
"""(H, W) numbers of colours; 0 is taken for what lies outside."""

_TILE = 64, 256  # rows and columns of a tile at the most
_ABOVE, _LEFT, _RIGHT = 2, 2, 1  # context pixels around a tile
_PIXELS_PER_LANE, _MOST_LANES = 1 << 13, 128
_ORDERS, _BIT_ORDERS = 4, 3  # contexts of an equality, and of a bit of an index
_IS_LEFT, _IS_ABOVE, _BIT = range(3)

Coding = Callable[[Array, Callable[[], Array]], Array]
"""Codes decisions (n,) with rows of MODELS (n,); a decoder does without the decisions, which the function gives."""


def encode_indices(indices: IndexMap, bits: int) -> bytes:
    """Code an index map (H, W) of numbers below 2^bits."""
    tiles = _Tiles(*indices.shape)
    tiles.load(indices)
    encoder = LaneEncoder(MODELS, _lanes(indices.size))

    def code(rows: Array, decisions: Callable[[], Array]) -> Array:
        values = decisions().astype(np.uint8)
        encoder.encode(rows, values)
        return values

    _code(tiles, bits, code)
    return encoder.finish()


def decode_indices(data: bytes, shape: tuple[int, int], bits: int) -> IndexMap:
    """Inverse of `encode_indices`, for a map of `shape` (H, W). Raises BitstreamError."""
    tiles, decoder = _Tiles(*shape), LaneDecoder(MODELS, _lanes(shape[0] * shape[1]), data)
    _code(tiles, bits, lambda rows, _: decoder.decode(rows))
    decoder.finish()
    return tiles.indices()


def _lanes(pixels: int) -> int:
    return min(_MOST_LANES, max(1, pixels // _PIXELS_PER_LANE))


def _code(tiles: "_Tiles", bits: int, code: Coding) -> None:
    """Code, or decode, every pixel of the tiles."""
    equalities, index_bits = AdaptiveBits(_ORDERS), AdaptiveBits(_BIT_ORDERS)

    def coded(model: AdaptiveBits, contexts: list[Array], decisions: Callable[[], Array]) -> Array:
        found = code(model.rows(contexts), decisions)
        model.update(contexts, found)
        return found.astype(bool)

    for at in tiles.fronts():
        here = at(0, 0)
        values = here.reshape(-1)
        contexts = _contexts(at)
        left, above = at(0, 1).reshape(-1), at(1, 0).reshape(-1)
        is_left = coded(equalities, [each * 4 + _IS_LEFT for each in contexts], lambda: values == left)  # noqa: B023
        found = np.where(is_left, left, above)
        (ask,) = np.nonzero(~is_left & (left != above))
        is_above = coded(
            equalities,
            [each[ask] * 4 + _IS_ABOVE for each in contexts],
            lambda: values[ask] == above[ask],  # noqa: B023
        )
        unlike = np.concatenate((ask[~is_above], np.nonzero(~is_left & (left == above))[0]))
        unlike.sort()
        pair = left[unlike].astype(np.uint32) + 1
        contexts = [0 * pair, pair, pair * 257 + above[unlike]]
        index = np.ones(len(unlike), np.uint32)
        for bit in reversed(range(bits)):
            ones = coded(
                index_bits,
                [each * 256 + index for each in contexts],
                lambda: values[unlike] >> bit & 1,  # noqa: B023
            )
            index = 2 * index + ones
        found[unlike] = index - (1 << bits)
        here[:] = found.reshape(here.shape)


def _contexts(at: Callable[[int, int], Array]) -> list[Array]:
    """The contexts of a front's pixels, from what is equal among the neighbours to who the six nearest are."""
    left, above, above_left, above_right, left2, above2 = (
        at(*offset).reshape(-1).astype(np.uint32) for offset in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
    )
    equal = (
        (left, above),
        (left, above_left),
        (above, above_left),
        (above, above_right),
        (left, left2),
        (above, above2),
        (left, above_right),
    )
    pattern = np.zeros(len(left), np.uint32)
    for one, other in equal:
        pattern = pattern << 1 | (one == other)
    two = left << 8 | above
    four = _mixed(two, above_left << 8 | above_right)
    return [pattern, _mixed(two, pattern), four, _mixed(four, left2 << 8 | above2)]


def _mixed(context: Array, further: Array) -> Array:
    """Two contexts as one, by a hash of 32 bits."""
    mixed = (context ^ further * np.uint32(40503)) * np.uint32(2246822519)
    hashed: Array = mixed ^ mixed >> np.uint32(15)
    return hashed


class _Tiles:
    """An index map as tiles with a border of zeros, in which fronts are slices."""

    def __init__(self, height: int, width: int):
        self._size = height, width
        rows, columns = (-(-side // -(-side // most)) for side, most in zip((height, width), _TILE, strict=True))
        self._grid = -(-height // rows), -(-width // columns)
        self._rows, self._columns, self._stride = rows, columns, _LEFT + columns + _RIGHT
        self._whole = np.zeros((*self._grid, _ABOVE + rows, self._stride), np.uint8)

    def load(self, indices: IndexMap) -> None:
        """Store a map. What a tile has beyond it are its last row and column."""
        (height, width), (down, across) = self._size, self._grid
        below, beside = down * self._rows - height, across * self._columns - width
        padded = np.pad(indices, ((0, below), (0, beside)), mode="edge")
        self._inside()[:] = padded.reshape(down, self._rows, across, self._columns).transpose(0, 2, 1, 3)

    def indices(self) -> IndexMap:
        """The stored map."""
        (height, width), (down, across) = self._size, self._grid
        whole = self._inside().transpose(0, 2, 1, 3).reshape(down * self._rows, across * self._columns)
        indices: IndexMap = np.ascontiguousarray(whole[:height, :width])
        return indices

    def fronts(self) -> Iterator[Callable[[int, int], Array]]:
        """For each front, a function that gives the values (tiles, n) some rows up and columns left of its pixels."""
        flat, step = self._whole.reshape(self._grid[0] * self._grid[1], -1), self._stride - LAG
        for time in range(self._columns + LAG * (self._rows - 1)):
            first = max(0, -((self._columns - 1 - time) // LAG))
            last = min(self._rows - 1, time // LAG)
            if first > last:
                continue
            start = (_ABOVE + first) * self._stride + _LEFT + time - LAG * first
            stop = start + (last - first) * step + 1

            def at(up: int, left: int, start: int = start, stop: int = stop) -> Array:
                back = up * self._stride + left
                return flat[:, start - back : stop - back : step]

            yield at

    def _inside(self) -> Array:
        """(down, across, rows, columns): the pixels of the tiles without their borders, a view."""
        inside: Array = self._whole[:, :, _ABOVE:, _LEFT : _LEFT + self._columns]
        return inside
