"""Palettes: pictures that were drawn, such as pages of text, plots and screenshots, as few colours and an index map.

A transform spends most of its bits on the edges of letters, and still blurs them. A palette has them as they are. The
encoder alone decides which of the two is the better one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import Rgb
from ..entropy.pixels.index_coder import IndexMap, decode_indices, encode_indices
from ..errors import BitstreamError
from .bitstream import parse

PALETTE_SECTIONS = 2
"""Sections of a stream with a palette; one with latents has one."""
_SIZES = 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64
"""Colours of the palettes that are tried."""
_LEAST_EQUAL = 0.5
"""Share of the pixels that equal their left neighbour, below which a picture was not drawn."""
_MOST_COLOURS = 1 << 12
"""Of a picture that was drawn."""
_ITERATIONS = 20  # of k-means


class PaletteCoding(NamedTuple):
    """A picture coded with a palette."""

    sections: tuple[bytes, bytes]
    """The colours, three bytes each, and the coded index map."""
    mse: float
    """The mean squared error, of values from 0 to 255."""


class Drawing:
    """A picture of few colours that lie in runs.

    Attributes:
        with_colours: The coding with a palette of at most so many colours, 1 to 64.
    """

    def __init__(self, colours: Rgb, numbers: NDArray[np.intp]):
        """Set up.

        Args:
            colours: (n, 3) all of them, uint8.
            numbers: (H, W) the colour of each pixel.
        """
        self._colours, self._numbers = colours, numbers
        self._counts = np.bincount(numbers.ravel(), minlength=len(colours))
        self.with_colours: Callable[[int], PaletteCoding] = cache(self._with_colours)

    @property
    def rgb(self) -> Rgb:
        """The picture (H, W, 3)."""
        return self._colours[self._numbers]

    def coded(self, error_weight: float) -> PaletteCoding:
        """The coding with the least cost: bits per pixel + error_weight * mse.

        Sizes are tried from the middle on, as long as the cost falls.
        """
        sizes = [size for size in _SIZES if size <= len(self._colours)] or [1]

        def cost(at: int) -> float:
            coding = self.with_colours(sizes[at])
            return 8 * sum(map(len, coding.sections)) / self._numbers.size + error_weight * coding.mse

        at = len(sizes) // 2
        for step in (-1, 1):
            while 0 <= at + step < len(sizes) and cost(at + step) < cost(at):
                at += step
        return self.with_colours(sizes[at])

    def _with_colours(self, size: int) -> PaletteCoding:
        palette, indices_of_colours, mse = _palette(self._colours, self._counts, size)
        indices = encode_indices(indices_of_colours[self._numbers], _bits(len(palette)))
        return PaletteCoding((palette.tobytes(), indices), mse)


def drawing(rgb: Rgb) -> Drawing | None:
    """A picture (H, W, 3) as a drawing; None for a photograph."""
    packed = rgb.astype(np.int32) @ np.array((1 << 16, 1 << 8, 1), np.int32)
    equal = packed[:, 1:] == packed[:, :-1]
    if np.count_nonzero(equal) < _LEAST_EQUAL * equal.size:
        return None
    keys, numbers = np.unique(packed, return_inverse=True)
    if len(keys) > _MOST_COLOURS:
        return None
    colours = np.stack([keys >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
    return Drawing(colours, numbers.reshape(packed.shape))


def cheaper_stream(
    stream: bytes, drawn: Drawing | None, error_weight: float | None, decode: Callable[[bytes], Rgb]
) -> bytes:
    """The stream of a picture with a palette, if that has the lower cost, otherwise the one with latents.

    Args:
        stream: of the picture, with latents.
        drawn: the picture, if it is a drawing.
        error_weight: bits per pixel that a squared error of 1 is worth; None if unknown.
        decode: `stream` to its picture.
    """
    if drawn is None or error_weight is None:
        return stream
    rgb, coding = drawn.rgb, drawn.coded(error_weight)
    with_palette = replace(parse(stream), sections=coding.sections).pack()
    mse = np.square(decode(stream).astype(np.float64) - rgb).mean()
    bits_saved = 8 * (len(stream) - len(with_palette)) / (rgb.shape[0] * rgb.shape[1])
    return with_palette if bits_saved + error_weight * (mse - coding.mse) > 0 else stream


def decode_palette(sections: Sequence[bytes], height: int, width: int) -> Rgb:
    """The picture (H, W, 3) of the sections of a PaletteCoding. Raises BitstreamError."""
    colours, coded = sections
    if len(colours) % 3 or not 1 <= len(colours) // 3 <= _SIZES[-1]:
        raise BitstreamError("corrupted bitstream: it has no palette")
    palette = np.frombuffer(colours, np.uint8).reshape(-1, 3)
    indices = decode_indices(coded, (height, width), _bits(len(palette)))
    if indices.max() >= len(palette):
        raise BitstreamError("corrupted bitstream: a colour is not in the palette")
    rgb: Rgb = palette[indices]
    return rgb


def _bits(colours: int) -> int:
    """Bits of an index."""
    return (colours - 1).bit_length()


def _palette(colours: Rgb, counts: NDArray[np.intp], size: int) -> tuple[Rgb, IndexMap, float]:
    """The palette of at most `size` colours with the least squared error, about (k-means).

    Returns:
        The palette, the most frequent colour first; the index in it of each of `colours`; the mean squared error.
    """
    points, weights = colours.astype(np.float64), counts / counts.sum()
    centres = points[[np.argmax(weights)]]
    distances = _squared_distances(points, centres)[:, 0]
    while len(centres) < size and distances.any():
        farthest = points[[np.argmax(weights * distances)]]
        centres = np.concatenate((centres, farthest))
        distances = np.minimum(distances, _squared_distances(points, farthest)[:, 0])
    for _ in range(_ITERATIONS):
        nearest = _squared_distances(points, centres).argmin(axis=1)
        shares = np.bincount(nearest, weights, minlength=len(centres))
        sums = np.stack([np.bincount(nearest, weights * plane, minlength=len(centres)) for plane in points.T], axis=1)
        centres = np.where(shares[:, None] > 0, sums / np.maximum(shares, np.finfo(float).tiny)[:, None], centres)
    centres = centres.round()
    nearest = _squared_distances(points, centres).argmin(axis=1)
    order = np.argsort(-np.bincount(nearest, weights, minlength=len(centres)), kind="stable")
    centres, nearest = centres[order], np.argsort(order)[nearest]
    mse = float((weights * np.square(points - centres[nearest]).mean(axis=1)).sum())
    return centres.astype(np.uint8), nearest.astype(np.uint8), mse


def _squared_distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(points, centres)."""
    distances: NDArray[np.float64] = np.square(points[:, None] - centres).sum(axis=2)
    return distances
