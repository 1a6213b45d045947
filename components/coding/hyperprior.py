"""Coding with a hyperprior: components.entropy.hyperprior in use, which says how it trains.

    z --round--> z_hat ==> range coder (channel tables)
                  |
                 h_s                                     for each pass of the context model, and each group of channels:
                  v
                 psi, context of the passes before --parameters--> distributions ==> range coder --> y_hat

Everything from z_hat to the distributions runs in integers, so the symbols that one machine codes are those that any
other decodes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import TypedDict

import numpy as np

from .blas import one_blas_thread
from .conditional import SQUARES_PER_BIT, Conditional, GaussianConditional, MixtureConditional, rdo_quantised
from .context import CheckerboardContext, ContextModel, HierarchicalContext, NoContext
from .fixed_point import UNIT, Arrays, Network, Values, rounding_shift
from .gain import Gains, pack_shift, shift_of, unpack_shift
from .hyper_latents import HyperLatentsCoder
from .range_coder import SymbolDecoder, SymbolEncoder

INVERSE_BITS = 16
"""Fractional bits of the inverse running scales."""

_Pass = Callable[[Values, slice], Values]  # parameters of some channels in a pass to these latents, quantised


class HyperPriorStructure(TypedDict):
    """What the arrays of a hyperprior are for.

    h_s, parameters, groups: the layers of networks, see `fixed_point.Network`; a network for each group but the first.
    channels: of each group. context: none, checkerboard or hierarchical. components: Gaussians of each element.
    """

    h_s: list[str]
    parameters: list[str]
    groups: list[list[str]]
    channels: list[int]
    context: str
    components: int


class HyperPriorCoder:
    """Latents y (C, h, w), h and w multiples of 4, and hyper-latents z (N, h / 4, w / 4) to bytes, and back to y."""

    def __init__(self, structure: HyperPriorStructure, arrays: Arrays):
        """Raises OverflowError for weights that are too large for exact sums."""
        self._gains = Gains(arrays)
        self._side = HyperLatentsCoder(structure["h_s"], arrays)
        self._parameters = Network(structure["parameters"], arrays)
        self._groups = [Network(layers, arrays) for layers in structure["groups"]]
        ends = [*accumulate(structure["channels"])]
        self._channels = [slice(end - size, end) for size, end in zip(structure["channels"], ends, strict=True)]
        components = structure["components"]
        self._conditional: Conditional = (
            GaussianConditional(arrays) if components == 1 else MixtureConditional(arrays, components)
        )
        contexts: dict[str, Callable[[], ContextModel]] = {
            "none": NoContext,
            "checkerboard": partial(CheckerboardContext, arrays),
            "hierarchical": partial(HierarchicalContext, arrays),
        }
        self._context = contexts[structure["context"]]()
        self._mean, self._inverse, self._offset = (
            arrays[name].astype(np.float64)[:, None, None]
            for name in ("running.mean", "running.inverse_scale", "offset")
        )

    def encode(self, y: Values, z: Values, gain: float, squares_per_bit: float = SQUARES_PER_BIT) -> tuple[bytes, ...]:
        """Latents, quantised with steps of 1 / gain, to one section: shift of the gain, z, y.

        Args:
            y: (C, h, w).
            z: (N, h / 4, w / 4), which is rounded.
            gain: one over the quantiser's step.
            squares_per_bit: the weight of a bit in the decisions on y; 0 rounds.
        """
        encoder, shift = SymbolEncoder(), shift_of(gain)
        quantiser, psi = self._gains.quantiser(shift), self._side.encode(encoder, z)

        def encode(targets: Values, parameters: Values, channels: slice) -> Values:
            own = quantiser.of(channels)
            symbols = rdo_quantised(self._conditional, targets[channels], parameters, own, squares_per_bit)
            self._conditional.encode(encoder, symbols, parameters, own)
            return self._conditional.latents(symbols, parameters, own)

        self._run_passes(psi, [partial(encode, part) for part in self._context.split(y)])
        return (pack_shift(shift) + encoder.finish(),)

    def estimate(self, y: Values, z: Values, gain: float) -> tuple[Values, Values]:
        """What `encode` sends of latents, without coding it.

        Returns:
            Quantised latents (C, h, w), and the bits at each position (h, w), those of z spread over its positions.
        """
        quantiser, (psi, side_bits) = self._gains.quantiser(shift_of(gain)), self._side.estimate(z)
        parts = self._context.split(y)
        bits = [np.zeros((1, *part.shape[1:])) for part in parts]

        def estimate(targets: Values, bits: Values, parameters: Values, channels: slice) -> Values:
            own = quantiser.of(channels)
            symbols = rdo_quantised(self._conditional, targets[channels], parameters, own, SQUARES_PER_BIT)
            bits += self._conditional.bits(symbols, parameters, own).sum(axis=0)
            return self._conditional.latents(symbols, parameters, own)

        y_hat = self._run_passes(psi, [partial(estimate, *each) for each in zip(parts, bits, strict=True)])
        return y_hat, self._context.merge(bits)[0] + side_bits

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Values:
        """The quantised latents of that shape (C, h, w). Raises BitstreamError."""
        shift, data = unpack_shift(sections)
        quantiser, decoder = self._gains.quantiser(shift), SymbolDecoder(data)
        psi = self._side.decode(decoder, *shape[1:])

        def decode(parameters: Values, channels: slice) -> Values:
            own = quantiser.of(channels)
            return self._conditional.latents(self._conditional.decode(decoder, parameters, own), parameters, own)

        return self._run_passes(psi, [decode] * len(self._context.split(np.empty((0, *shape[1:])))))

    def _run_passes(self, psi: Values, passes: Sequence[_Pass]) -> Values:
        """Quantised latents, pass after pass."""
        with one_blas_thread():
            return self._pass_after_pass(psi, passes)

    def _pass_after_pass(self, psi: Values, passes: Sequence[_Pass]) -> Values:
        parts: list[Values] = []
        for part, coded_by in zip(self._context.split(psi), passes, strict=True):
            context = self._context.of(parts, part, self._normalised, self._mean)
            features = np.concatenate((part, context.features))
            parameters = self._parameters(features) + self._offset
            if not isinstance(context.mean, float):
                parameters = self._conditional.shifted(parameters, context.mean)
            coded: list[Values] = []
            for group, channels in enumerate(self._channels):
                own = self._of_group(group, parameters, features, coded)
                coded.append(coded_by(own, channels))
            parts.append(np.concatenate(coded))
        return self._context.merge(parts) / UNIT

    def _of_group(self, group: int, parameters: Values, features: Values, before: Sequence[Values]) -> Values:
        """Entropy parameters of one group, which the latents of the groups before it correct."""
        by_channel = parameters.reshape(-1, len(self._mean), *parameters.shape[1:])
        own = by_channel[:, self._channels[group]].reshape(-1, *parameters.shape[1:])
        if not before:
            return own
        known = self._normalised(np.concatenate(before))
        return own + self._groups[group - 1](np.concatenate((known, features)))

    def _normalised(self, y: Values) -> Values:
        """Latents of the first channels in fixed point, less their running means and over their running scales."""
        return rounding_shift((y - self._mean[: len(y)]) * self._inverse[: len(y)], INVERSE_BITS)
