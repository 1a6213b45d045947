"""Context models: the passes in which latents are coded, and what a pass knows from those before it.

A pass codes the latents of some positions, all channels at once. It sees features of the positions decoded before, by
convolutions over latents that are normalised, and zero where nothing is known yet.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .checkerboard import checkerboard_merge, checkerboard_split
from .integers import Integers, convolution, fixed_point
from .neighbours import from_neighbours
from .running_statistics import RunningStatistics


class Context(NamedTuple):
    """What a pass knows of its latents: features (B, F, h, w), and offsets of their means, (B, C, h, w) or 0."""

    features: Tensor
    mean: Tensor | float = 0.0


class ContextModel(ABC):
    """The passes of latents (B, C, h, w), and what each knows."""

    features: int
    """Channels F of the features."""

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """The positions of each pass, as rectangles."""

    @abstractmethod
    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Inverse of `split`."""

    @abstractmethod
    def coding_parts(self) -> tuple[str, Integers]:
        """The name and the integers that components.coding.hyperprior takes."""

    @abstractmethod
    def of(self, parts: Sequence[Tensor], like: Tensor, statistics: RunningStatistics) -> Context:
        """The context of the next pass.

        Args:
            parts: latents of the passes before.
            like: a tensor (B, any, h, w) of the next pass's positions.
            statistics: normalises latents.
        """


class NoContext(ContextModel):
    """One pass over all positions."""

    features = 0

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """All positions."""
        return (x,)

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """All positions."""
        return parts[0]

    def of(self, parts: Sequence[Tensor], like: Tensor, statistics: RunningStatistics) -> Context:  # noqa: ARG002
        """Nothing."""
        return Context(like[:, :0])

    def coding_parts(self) -> tuple[str, Integers]:
        """See ContextModel."""
        return "none", {}


class CheckerboardContext(nn.ModuleList, ContextModel):
    """Two passes, over the black and the white fields of a checkerboard (He et al., CVPR 2021, arXiv 2103.15306).

    Args:
        channels: of the latents.
        features: of the context.
        kernel: side of the kernel, odd.
    """

    def __init__(self, channels: int, features: int, kernel: int):
        super().__init__([nn.Conv2d(channels, features, kernel, padding=kernel // 2)])
        self.features = features

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Both fields, each (B, C, h, w / 2)."""
        return checkerboard_split(x)

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Inverse of `split`."""
        return checkerboard_merge(*parts)

    def of(self, parts: Sequence[Tensor], like: Tensor, statistics: RunningStatistics) -> Context:
        """Zeros for the first field, and features of the first for the second."""
        if not parts:
            return Context(torch.zeros_like(like[:, :1]).expand(-1, self.features, -1, -1))
        network = self[0]
        assert isinstance(network, nn.Conv2d)
        known = statistics.normalise(parts[0])
        return Context(from_neighbours(network, known.chunk(2, dim=2)))

    def coding_parts(self) -> tuple[str, Integers]:
        """See ContextModel."""
        return "checkerboard", convolution(self[0], "context.0")


class HierarchicalContext(nn.Module, ContextModel):
    """Five passes, from a grid of every fourth row and column to all positions; each halves the distance of neighbours.

        0 . 4 . 0      pass 0: every fourth row and column, without context
        . 3 . 3 .      pass 1: the middles of four positions of pass 0
        4 . 1 . 4      pass 2: the rest of every second row and column (marked 2)
        . 3 . 3 .      passes 3 and 4: the same one level finer

    In smooth areas nearly all bits are those of the lowest frequencies, which their neighbours tell. A checkerboard
    codes half of the positions without a neighbour, this one a sixteenth. In each pass the mean of an element is
    predicted linearly from its neighbours in the same channel, and all channels of them give features. The linear path
    matters: without it a short training wins nothing over a checkerboard.

    Args:
        channels: of the latents (B, channels, h, w), h and w multiples of 4.
        features: of the context.
    """

    PASSES = 5

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.features = features
        self.first = nn.Parameter(torch.zeros(features, 1, 1))
        self.networks = nn.ModuleList(nn.Conv2d(channels, features, side, padding=side // 2) for side in (3, 5, 3, 5))
        self.predictions = nn.ModuleList(_no_prediction(channels) for _ in self.networks)

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """The positions of the five passes."""
        (second, middles), rest = _levels(x)
        (first, middles_of_second), rest_of_second = _levels(second)
        return first, middles_of_second, rest_of_second, middles, rest

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Inverse of `split`."""
        first, middles_of_second, rest_of_second, middles, rest = parts
        second = checkerboard_merge(torch.cat((first, middles_of_second), dim=2), rest_of_second)
        return checkerboard_merge(torch.cat((second, middles), dim=2), rest)

    def of(self, parts: Sequence[Tensor], like: Tensor, statistics: RunningStatistics) -> Context:
        """Features of the neighbours known, and the means predicted from them; the first pass knows none."""
        if not parts:
            return Context(self.first.expand(len(like), -1, *like.shape[2:]))
        network, prediction = self.networks[len(parts) - 1], self.predictions[len(parts) - 1]
        assert isinstance(network, nn.Conv2d)
        assert isinstance(prediction, nn.Conv2d)
        average = statistics.mean[:, None, None]
        normal = self._known([statistics.normalise(part) for part in parts])
        centred = self._known([part - average for part in parts])
        return Context(from_neighbours(network, normal), from_neighbours(prediction, centred))

    def coding_parts(self) -> tuple[str, Integers]:
        """See ContextModel."""
        integers: Integers = {"context.first": fixed_point(self.first)}
        for name in ("networks", "predictions"):
            for number, layer in enumerate(getattr(self, name)):
                integers.update(convolution(layer, f"context.{name}.{number}"))
        return "hierarchical", integers

    @staticmethod
    def _known(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What is decoded of the grid of the next pass: even rows and columns, and their middles if known."""
        even = parts[0]
        if len(parts) >= 3:
            even = checkerboard_merge(torch.cat((even, parts[1]), dim=2), parts[2])
        return (even,) if len(parts) % 2 else (even, parts[-1])


def _levels(x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Every second row and column of x (B, C, h, w), the middles of four of them, and the rest."""
    fields, rest = checkerboard_split(x)
    even, middles = fields.chunk(2, dim=2)
    return (even, middles), rest


def _no_prediction(channels: int) -> nn.Conv2d:
    """A 3x3 convolution of each channel by itself, zero at first."""
    layer = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
