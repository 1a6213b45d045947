"""Context models: the passes in which latents are coded, and what a pass knows from those before it.

The trained networks are those of components.entropy.context, which says why they are so. Here they run in fixed point.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .checkerboard import checkerboard_merge, checkerboard_split, hierarchical_merge, hierarchical_split
from .fixed_point import Arrays, Convolution, Values, multiplied, padded_with_zeros

Normalise = Callable[[Values], Values]
"""Latents (C, h, w) in fixed point, less their running means and over their running scales."""


class Context(NamedTuple):
    """What a pass knows of its latents: features (F, h, w), and offsets of their means, (C, h, w) or 0."""

    features: Values
    mean: Values | float = 0.0


class ContextModel(Protocol):
    """The passes of latents (C, h, w), and what each knows."""

    def split(self, x: Values) -> tuple[Values, ...]:
        """The positions of each pass, as rectangles."""

    def merge(self, parts: Sequence[Values]) -> Values:
        """Inverse of `split`."""

    def of(self, parts: Sequence[Values], like: Values, normalise: Normalise, mean: Values) -> Context:
        """The context of the next pass.

        Args:
            parts: latents of the passes before.
            like: an array (any, h, w) of the next pass's positions.
            normalise: latents by their running statistics.
            mean: the running means (C, 1, 1).
        """


class NoContext:
    """One pass over all positions."""

    def split(self, x: Values) -> tuple[Values, ...]:
        """All positions."""
        return (x,)

    def merge(self, parts: Sequence[Values]) -> Values:
        """All positions."""
        return parts[0]

    def of(self, parts: Sequence[Values], like: Values, normalise: Normalise, mean: Values) -> Context:  # noqa: ARG002
        """No features."""
        return Context(like[:0])


class CheckerboardContext:
    """Two passes, over the black and the white fields of a checkerboard."""

    def __init__(self, arrays: Arrays):
        self._network = Convolution(arrays, "context.0")

    def split(self, x: Values) -> tuple[Values, ...]:
        """Both fields, each (C, h, w / 2)."""
        return checkerboard_split(x)

    def merge(self, parts: Sequence[Values]) -> Values:
        """Inverse of `split`."""
        return checkerboard_merge(*parts)

    def of(self, parts: Sequence[Values], like: Values, normalise: Normalise, mean: Values) -> Context:  # noqa: ARG002
        """Zeros for the first field, and features of the first for the second."""
        if not parts:
            return Context(np.zeros((len(self._network.bias), *like.shape[1:])))
        return Context(from_neighbours(self._network, np.split(normalise(parts[0]), 2, axis=1)))


class HierarchicalContext:
    """Five passes, from every fourth row and column to all positions."""

    def __init__(self, arrays: Arrays):
        self._first: Values = arrays["context.first"].astype(np.float64)
        self._networks = [Convolution(arrays, f"context.networks.{number}") for number in range(4)]
        self._predictions = [Convolution(arrays, f"context.predictions.{number}") for number in range(4)]

    def split(self, x: Values) -> tuple[Values, ...]:
        """The positions of the five passes."""
        return hierarchical_split(x)

    def merge(self, parts: Sequence[Values]) -> Values:
        """Inverse of `split`."""
        return hierarchical_merge(parts)

    def of(self, parts: Sequence[Values], like: Values, normalise: Normalise, mean: Values) -> Context:
        """Features of the neighbours known, and the means predicted from them; the first pass knows none."""
        if not parts:
            return Context(np.broadcast_to(self._first, (len(self._first), *like.shape[1:])))
        known = parts if len(parts) < 3 else (hierarchical_merge(parts[:3]), *parts[3:])
        number = len(parts) - 1
        return Context(
            from_neighbours(self._networks[number], [normalise(part) for part in known]),
            from_neighbours(self._predictions[number], [part - mean for part in known]),
        )


_KNOWN = ((0, 0), (1, 1))  # first row and column of fields a and d of a checkerboard
_ASKED = {1: ((1, 1),), 2: ((0, 1), (1, 0))}


def from_neighbours(layer: Convolution, known: Sequence[Values]) -> Values:
    """What a convolution of the whole grid, zero where nothing is known, gives at the positions that are asked for.

    Args:
        layer: all channels together, or each by itself.
        known: field a (C, h, w) of a checkerboard, to ask for d; or fields a and d, to ask for b and c.

    Returns:
        Field d (F, h, w); or b and c, one below the other (F, 2h, w).
    """
    side, (height, width) = len(layer.taps), known[0].shape[1:]
    half, margin = side // 2, (side // 2 + 1) // 2
    padded = [padded_with_zeros(x, margin) for x in known]

    def field(target: tuple[int, int]) -> Values:
        sums = np.zeros((len(layer.bias), height, width))
        for i in range(side):
            for j in range(side):
                row, column = target[0] + i - half, target[1] + j - half
                source = (row % 2, column % 2)
                if source in _KNOWN[: len(known)]:
                    top, left = (row - source[0]) // 2 + margin, (column - source[1]) // 2 + margin
                    x = padded[_KNOWN.index(source)][:, top : top + height, left : left + width]
                    sums += multiplied(layer.taps[i, j], x)
        return sums

    return layer.activations(np.concatenate([field(target) for target in _ASKED[len(known)]], axis=1))
