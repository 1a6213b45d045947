"""Symbols of latents given their distributions: a Gaussian, or a mixture of Gaussians, for each element.

Shapes: latents and symbols (C, h, w); parameters (each * C, h, w) in fixed point.
"""

from typing import Protocol

import numpy as np

from .fixed_point import UNIT, Arrays, Values, rounding_shift
from .gain import FACTOR_BITS, Quantiser
from .gaussian_tables import GaussianTables, table_index
from .mixture_tables import Mixtures, MixtureTables
from .range_coder import SymbolDecoder, SymbolEncoder

SQUARES_PER_BIT = 0.05
"""Squared quantiser steps that a bit is worth: gave the best pictures at equal rates (docs/experiments.md)."""


class Conditional(Protocol):
    """Distributions of elements, and the coding of their symbols."""

    def shifted(self, parameters: Values, mean: Values) -> Values:
        """Parameters with `mean` (C, h, w) added to the means."""

    def steps(self, y: Values, parameters: Values, quantiser: Quantiser) -> Values:
        """Latents as real numbers of quantiser steps from the value of symbol zero."""

    def bits(self, symbols: Values, parameters: Values, quantiser: Quantiser) -> Values:
        """Code lengths of symbols."""

    def latents(self, symbols: Values, parameters: Values, quantiser: Quantiser) -> Values:
        """The latents that symbols stand for, in fixed point."""

    def encode(self, encoder: SymbolEncoder, symbols: Values, parameters: Values, quantiser: Quantiser) -> None:
        """Code symbols."""

    def decode(self, decoder: SymbolDecoder, parameters: Values, quantiser: Quantiser) -> Values:
        """Inverse of `encode`. Raises BitstreamError."""


class GaussianConditional:
    """A Gaussian for each element; its symbol is the distance from the mean in quantiser steps, rounded.

    Parameters: means (C), then logarithms of scales (C).
    """

    def __init__(self, arrays: Arrays):
        self._tables = GaussianTables(arrays)

    def shifted(self, parameters: Values, mean: Values) -> Values:
        """See Conditional."""
        return np.concatenate((parameters[: len(mean)] + mean, parameters[len(mean) :]))

    def steps(self, y: Values, parameters: Values, quantiser: Quantiser) -> Values:
        """See Conditional."""
        return (y - parameters[: len(y)] / UNIT) * (quantiser.gain * 2.0**-FACTOR_BITS)

    def bits(self, symbols: Values, parameters: Values, quantiser: Quantiser) -> Values:
        """See Conditional."""
        return self._tables.bits_of(symbols, table_index(parameters[len(symbols) :], quantiser.shift))

    def latents(self, symbols: Values, parameters: Values, quantiser: Quantiser) -> Values:
        """See Conditional."""
        return parameters[: len(symbols)] + quantiser.dequantise(symbols)

    def encode(self, encoder: SymbolEncoder, symbols: Values, parameters: Values, quantiser: Quantiser) -> None:
        """See Conditional."""
        self._tables.encode(encoder, symbols, table_index(parameters[len(symbols) :], quantiser.shift))

    def decode(self, decoder: SymbolDecoder, parameters: Values, quantiser: Quantiser) -> Values:
        """See Conditional."""
        return self._tables.decode(decoder, table_index(np.split(parameters, 2)[1], quantiser.shift))


class MixtureConditional:
    """A mixture of K Gaussians for each element (Cheng et al. 2020); its symbol is the element in steps, rounded.

    Parameters: logits of the weights (K * C), means (K * C), logarithms of scales (K * C).
    """

    def __init__(self, arrays: Arrays, components: int):
        self._tables, self._components = MixtureTables(arrays), components

    def shifted(self, parameters: Values, mean: Values) -> Values:
        """See Conditional."""
        logits, means, log_scales = np.split(parameters, 3)
        return np.concatenate((logits, means + np.tile(mean, (self._components, 1, 1)), log_scales))

    def steps(self, y: Values, parameters: Values, quantiser: Quantiser) -> Values:  # noqa: ARG002
        """See Conditional."""
        return y * (quantiser.gain * 2.0**-FACTOR_BITS)

    def bits(self, symbols: Values, parameters: Values, quantiser: Quantiser) -> Values:
        """See Conditional."""
        return self._tables.bits_of(symbols, self._mixtures(parameters, quantiser))

    def latents(self, symbols: Values, parameters: Values, quantiser: Quantiser) -> Values:  # noqa: ARG002
        """See Conditional."""
        return quantiser.dequantise(symbols)

    def encode(self, encoder: SymbolEncoder, symbols: Values, parameters: Values, quantiser: Quantiser) -> None:
        """See Conditional."""
        self._tables.encode(encoder, symbols, self._mixtures(parameters, quantiser))

    def decode(self, decoder: SymbolDecoder, parameters: Values, quantiser: Quantiser) -> Values:
        """See Conditional."""
        return self._tables.decode(decoder, self._mixtures(parameters, quantiser))

    def _mixtures(self, parameters: Values, quantiser: Quantiser) -> Mixtures:
        shape = (self._components, -1, *parameters.shape[1:])
        logits, means, log_scales = (part.reshape(shape) for part in np.split(parameters, 3))
        scaled = rounding_shift(means * quantiser.gain, FACTOR_BITS)
        return Mixtures(logits, scaled, table_index(log_scales, quantiser.shift))


def rdo_quantised(
    conditional: Conditional, y: Values, parameters: Values, quantiser: Quantiser, squares_per_bit: float
) -> Values:
    """The symbols that an encoder sends: the nearest or the second nearest integer, whichever costs less.

    Rate-distortion optimised quantisation; the decoder needs no change, since it reads the integers that were sent.

    Args:
        conditional: the distributions.
        y: latents.
        parameters: of their distributions.
        quantiser: of their channels.
        squares_per_bit: the weight of a bit, in squared quantiser steps; 0 rounds.
    """
    steps = conditional.steps(y, parameters, quantiser)
    nearest = np.round(steps)
    if squares_per_bit == 0:
        return nearest
    other = nearest + np.sign(steps - nearest)

    def cost(symbols: Values) -> Values:
        return np.square(steps - symbols) + squares_per_bit * conditional.bits(symbols, parameters, quantiser)

    return np.where(cost(other) < cost(nearest), other, nearest)
