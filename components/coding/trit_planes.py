"""Progressive coding in trit planes, of which every prefix decodes: components.entropy.progressive in use.

    z --round--> z_hat ==> range coder (channel tables)
                  |
                 h_s --> psi --parameters--> mean, scale of each element
                          |
    (y - mean) * gain --round--> distance in base 3, most significant trits first
                          |
    for each round of a stage:   psi, intervals so far --rate reduction--> sharper Gaussians
                          |
          next trits of the stage's elements, by falling priority ==> range coder

    prefix ==> z_hat, trits --> intervals --distortion reduction--> expected values --> y_hat = mean + value / gain

A plane holds the trits whose priority lies between two bounds, a factor of nine in distortion per bit: one trit gains
that much where the density is flat. It has two stages by priority, and a stage has rounds: each codes the next trit of
every element that has one there. At a plane's end, values that trits would not reach are coded whole (outliers).
Priorities follow from the hyperprior and the trits before alone, so that the decoder finds the order by itself.
"""

from typing import TypedDict

import numpy as np

from .blas import one_blas_thread
from .fixed_point import ACTIVATION_BITS, UNIT, Arrays, Network, Values, rounding_shift
from .gain import FACTOR_BITS, Gains, Quantiser, pack_shift, shift_of, unpack_shift
from .hyper_latents import HyperLatentsCoder
from .range_coder import PrefixDecoder, SymbolEncoder
from .trit_coder import TritBitCounter, TritCoder, TritDecoder, TritEncoder
from .trit_state import STAGES, STAGES_PER_PLANE, TritState
from .trit_tables import Gaussians, Integers, Intervals, TritTables, units_of

_WORTHWHILE = 16
_FARTHEST = 8 * UNIT


class TritPlaneStructure(TypedDict):
    """What the arrays of a trit-plane model are for.

    h_s, parameters: the layers of networks, see `fixed_point.Network`. sharper, closer: the layers around each element
    and those that weigh them, of rate reduction and of distortion reduction; null without.
    """

    h_s: list[str]
    parameters: list[str]
    sharper: tuple[list[str], list[str]] | None
    closer: tuple[list[str], list[str]] | None


class Refinement:
    """Shifts of means and logarithms of scale factors: components.entropy.progressive.refinement in integers."""

    def __init__(self, layers: tuple[list[str], list[str]], arrays: Arrays):
        self._around, self._weigh = (Network(names, arrays) for names in layers)

    def __call__(self, psi: Values, decoded: Values) -> Values:
        """psi (F, h, w) and decoded features (3C, h, w) to (2C, h, w)."""
        return self._weigh(np.concatenate((psi, self._around(decoded))))


class TritPlaneCoder:
    """Latents y (C, h, w), h and w multiples of 4, and hyper-latents z (N, h / 4, w / 4) to bytes, and back to y.

    The gain says where a stream ends: where trits reduce the distortion by less for each bit than a quantiser with
    steps of 1 / gain would.

    Attributes:
        tables: Of trits.
        sharper: Rate reduction, of the Gaussians of the trits that follow; None without.
        closer: Distortion reduction, of the Gaussians that values are reconstructed by; None without.
        inverse_scale: (C, 1, 1) one over the running scales, in 2^-FACTOR_BITS.
    """

    def __init__(self, structure: TritPlaneStructure, arrays: Arrays):
        """Raises OverflowError for weights that are too large for exact sums."""
        self.tables = TritTables(arrays)
        self._gains = Gains(arrays)
        self._side = HyperLatentsCoder(structure["h_s"], arrays)
        self._parameters = Network(structure["parameters"], arrays)
        sharper, closer = structure["sharper"], structure["closer"]
        self.sharper = Refinement(sharper, arrays) if sharper else None
        self.closer = Refinement(closer, arrays) if closer else None
        self._missing = arrays["missing"].astype(np.int32)
        self._offset, self.inverse_scale = (
            arrays[name].astype(np.float64)[:, None, None] for name in ("offset", "running.inverse_scale")
        )

    def encode(self, y: Values, z: Values, gain: float) -> tuple[bytes, ...]:
        """Latents to one section: the shift of the gain, z, and the trits.

        Args:
            y: (C, h, w).
            z: (N, h / 4, w / 4), which is rounded.
            gain: one over the step of the quantiser that the last trits amount to.
        """
        encoder, shift = SymbolEncoder(), shift_of(gain)
        psi = self._side.encode(encoder, z)
        with one_blas_thread():
            picture = _Picture(self, psi, self._gains.quantiser(shift))
            picture.code_planes(TritEncoder(encoder, picture.values(y)))
        return (pack_shift(shift) + encoder.finish(),)

    def estimate(self, y: Values, z: Values, gain: float) -> tuple[Values, Values]:
        """What `encode` sends of latents, without coding it.

        Returns:
            Quantised latents (C, h, w), and the bits at each position (h, w), those of z spread over its positions.
        """
        psi, side_bits = self._side.estimate(z)
        with one_blas_thread():
            picture = _Picture(self, psi, self._gains.quantiser(shift_of(gain)))
            counter = TritBitCounter(picture.values(y))
            y_hat = picture.reconstructed(picture.code_planes(counter))
        return y_hat, counter.bits + side_bits

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Values:
        """The latents of that shape (C, h, w) in a section or in any prefix of it. Raises BitstreamError."""
        empty = len(sections) == 1 and len(sections[0]) < 2
        shift, data = (0, b"") if empty else unpack_shift(sections)
        decoder = PrefixDecoder(data)
        psi, complete = self._side.decode_prefix(decoder, *shape[1:], self._missing)
        with one_blas_thread():
            picture = _Picture(self, psi, self._gains.quantiser(shift))
            intervals = picture.code_planes(TritDecoder(decoder)) if complete else self.tables.start(picture.prior)
            return picture.reconstructed(intervals)

    def mean_and_log_scale(self, psi: Values) -> list[Values]:
        """Those of the latents, (C, h, w) each, in fixed point."""
        return np.split(self._parameters(psi) + self._offset, 2)


class _Picture:
    """What the decoder knows of one picture from its side information on.

    Attributes:
        prior: Gaussians of the distances of latents from their means (C, h, w).
    """

    def __init__(self, coder: TritPlaneCoder, psi: Values, quantiser: Quantiser):
        self._coder, self._psi, self._quantiser = coder, psi, quantiser
        self._mean, log_scale = coder.mean_and_log_scale(psi)
        units = units_of(log_scale, quantiser.shift)
        self.prior = Gaussians(np.zeros_like(units), units)

    def values(self, y: Values) -> Integers:
        """Distances of latents (C, h, w) from their means, in quantiser steps, rounded."""
        steps = (y * UNIT - self._mean) * self._quantiser.gain * 2.0 ** -(FACTOR_BITS + ACTIVATION_BITS)
        return np.round(steps).astype(np.int64)

    def code_planes(self, code: TritCoder) -> Intervals:
        """Code every trit that is worth its bits, until a prefix ends; the intervals after the last."""
        tables = self._coder.tables
        state = TritState(tables, self.prior)
        for stage in STAGES:
            while len(places := state.places_in_stage(stage)):
                places = places[(-state.priorities[places]).argsort(kind="stable")]
                gaussians, intervals = self._gaussians_of_round(state, len(places)), state.intervals.at(places)
                trits = code(places, intervals, tables.frequencies[tables.place(gaussians.at(places), intervals)])
                state.refine(places[: len(trits)], trits)
                if len(trits) < len(places):
                    return state.shaped()
            if stage % STAGES_PER_PLANE == 0 and not code.outliers(state, stage // STAGES_PER_PLANE):
                return state.shaped()
        return state.shaped()

    def reconstructed(self, intervals: Intervals) -> Values:
        """Partial latents (C, h, w): the expected values within the intervals."""
        tables = self._coder.tables
        expected = tables.expected(tables.place(self._refined(self._coder.closer, intervals), intervals), intervals)
        y_hat: Values = (self._mean + rounding_shift(expected * self._quantiser.step, FACTOR_BITS)) / UNIT
        return y_hat

    def _gaussians_of_round(self, state: TritState, elements: int) -> Gaussians:
        """The flat Gaussians that a round codes with, refined if it holds elements enough."""
        if not is_worthwhile(elements, len(state.priorities)):
            return state.prior
        return Gaussians(*(part.ravel() for part in self._refined(self._coder.sharper, state.shaped())))

    def _refined(self, net: Refinement | None, intervals: Intervals) -> Gaussians:
        """The Gaussians (C, h, w) as a refinement moves them; those of the hyperprior without one."""
        if net is None:
            return self.prior
        coder = self._coder
        features = decoded_features(coder.tables, self.prior, intervals, self._quantiser.step, coder.inverse_scale)
        return coder.tables.moved(self.prior, *np.split(net(self._psi, features), 2))


def is_worthwhile(elements: int, of_all: int) -> bool:
    """Whether a refinement pays its time: where a round holds more than one element in 16."""
    return _WORTHWHILE * elements > of_all


def decoded_features(
    tables: TritTables, prior: Gaussians, intervals: Intervals, step: Values, inverse_scale: Values
) -> Values:
    """Input of a refinement (..., 3C, h, w), in fixed point.

    Expected distances from the means, normalised by the running scales; their magnitudes, which say how large scales
    are nearby; and how sharp the Gaussians are beside the intervals.

    Args:
        tables: of trits.
        prior: Gaussians of latents (..., C, h, w).
        intervals: that hold their distances from the means.
        step: quantiser steps (..., C, 1, 1), in 2^-FACTOR_BITS.
        inverse_scale: one over the running scales (C, 1, 1), likewise.
    """
    place = tables.place(prior, intervals)
    distance = rounding_shift(tables.expected(place, intervals) * step, FACTOR_BITS)
    distance = rounding_shift(distance * inverse_scale, FACTOR_BITS).clip(-_FARTHEST, _FARTHEST)
    return np.concatenate((distance, np.abs(distance), tables.sharpness(place)), axis=-3)
