"""The integers of trained networks and tables, as the coders of components.coding take them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..coding.fixed_point import ACTIVATION_BITS, GATE, LEAKY, SHUFFLE, WEIGHT_BITS
from ..layers.fixed_point import Gate

Integers = dict[str, NDArray[np.int32] | NDArray[np.int64]]


Coder = TypeVar("Coder")


class CodingModule(nn.Module, ABC, Generic[Coder]):
    """A probability model that hands its integers to a coder, whenever they have changed."""

    def __init__(self) -> None:
        super().__init__()
        self._cached: tuple[tuple[tuple[int, int], ...], Coder] | None = None

    @abstractmethod
    def coding_parts(self) -> tuple[Mapping[str, Any], Integers]:
        """What the coder is made of: JSON that says what the integers are for, and the integers by name."""

    @abstractmethod
    def new_coder(self) -> Coder:
        """The coder of these parts."""

    @property
    def coder(self) -> Coder:
        """The coder of the present weights."""
        versions = tuple((value.data_ptr(), value._version) for value in self.state_dict().values())
        if self._cached is None or self._cached[0] != versions:
            self._cached = versions, self.new_coder()
        return self._cached[1]

    def train(self, mode: bool = True) -> Self:
        """As for any module. It forgets the coder: fused optimisers change weights without a new version."""
        self._cached = None
        return super().train(mode)


def stored(tensor: Tensor) -> NDArray[Any]:
    """A buffer of integers."""
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def fixed_point(tensor: Tensor, bits: int = ACTIVATION_BITS) -> NDArray[np.int64]:
    """Real numbers, in any shape, to the nearest integers with so many fractional bits."""
    array: NDArray[np.int64] = (tensor.detach().double() * (1 << bits)).round_().long().cpu().numpy()
    return array


def convolution(layer: nn.Module, name: str) -> Integers:
    """The weights and biases of a convolution."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    bias = fixed_point(layer.bias, WEIGHT_BITS + ACTIVATION_BITS)
    return {f"{name}.weight": fixed_point(layer.weight, WEIGHT_BITS), f"{name}.bias": bias}


def layers(module: nn.Module, name: str) -> tuple[list[str], Integers]:
    """The layers of a network, as components.coding.fixed_point.Network takes them, and their weights.

    Raises TypeError for a layer that has no fixed-point form.
    """
    names, integers = [], {}
    for at, layer in module.named_modules(prefix=name):
        if isinstance(layer, nn.Conv2d):
            names.append(at)
            integers.update(convolution(layer, at))
        elif isinstance(layer, nn.LeakyReLU) and layer.negative_slope == 1 / 8:
            names.append(LEAKY)
        elif isinstance(layer, nn.PixelShuffle) and layer.upscale_factor == 2:
            names.append(SHUFFLE)
        elif isinstance(layer, Gate):
            names.append(GATE)
        elif not isinstance(layer, nn.Sequential):
            raise TypeError(f"no fixed-point form of {type(layer).__name__}")
    return names, integers
