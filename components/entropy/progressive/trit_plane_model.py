"""Trit-plane model: progressive coding of latents, of which every prefix of the stream decodes.

The progressive codec that "Image Compression Base on Trit-Plane and Attention" (paper 001; Fang et al. 2024) describes,
after DPICT (Lee et al., CVPR 2022) and CTC (Jeon et al., CVPR 2023).

    y --h_a--> z --round--> z_hat ==> range coder
                              |
                             h_s --> psi --entropy parameters--> mean, scale of each element
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

Departure from CTC: its refinements are convolutions in floats. Here everything that a trit or a decoded value depends
on is computed in fixed-point arithmetic (components.layers.fixed_point).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...coding.fixed_point import UNIT
from ...coding.gain import FACTOR_BITS, LOG_GAIN_UNIT, pack_shift, shift_of, unpack_shift
from ...coding.range_coder import TOTAL, PrefixDecoder, SymbolEncoder
from ...layers.fixed_point import fixed_point_forward, rounding_shift, to_fixed_point
from ...layers.hyper import entropy_parameters
from ..conditional import quantised_likelihood
from ..gain import GainVector, Quantiser
from ..hyper_latents import HyperLatents
from ..relaxation import (
    EntropyOutput,
    add_uniform_noise,
    log_interval_probability,
    position_bits,
    sample_log_gain,
    truncated_gaussian_mean,
)
from .refinement import Refinement
from .trit_coder import TritBitCounter, TritCoder, TritDecoder, TritEncoder, add_bits_at
from .trit_state import STAGES_PER_PLANE, TritState, at, flat
from .trit_tables import (
    Gaussians,
    Intervals,
    TritTables,
    next_trits,
    powers_of_3,
    scale_of,
    units_of,
)

_SAMPLED_ROUNDS = 2  # rounds of each batch whose rate a training step estimates
_WORTHWHILE = 16  # a refinement pays its time where a round holds more than one in so many elements

_STAGES = range(8 * STAGES_PER_PLANE - 1, -1, -1)
_FARTHEST = 8 * UNIT
_LARGEST_LOG = 4.0


class _Round(NamedTuple):
    """One round of training: the weight of its rate, the intervals before it, and the elements that it codes."""

    weight: float
    intervals: Intervals
    places: Tensor


class TritPlaneModel(nn.Module):
    """Rate of latents y (B, C, h, w), h and w multiples of 4, and their embedded coding.

    The gain says where a stream ends: where trits reduce the distortion by less for each bit than a quantiser with
    steps of 1 / gain would.

    Args:
        channels: C.
        hyper_channels: of the hyper-latents z.
        features: of the hyperprior's output psi, and of the refinements.
        gain_range: training draws the log-gain of each image from -gain_range to gain_range.
        rate_reduction: sharpen probabilities by what is decoded (CTC's CRR).
        distortion_reduction: move reconstructed values by what is decoded (CTC's CDR).
    """

    def __init__(
        self,
        channels: int,
        *,
        hyper_channels: int,
        features: int,
        gain_range: float,
        rate_reduction: bool = True,
        distortion_reduction: bool = True,
    ):
        super().__init__()
        self.side = HyperLatents(channels, hyper_channels, features)
        self.parameters_net = entropy_parameters(features, 2 * channels)
        self.tables = TritTables()
        self.sharper = Refinement(channels, features) if rate_reduction else None
        self.closer = Refinement(channels, features) if distortion_reduction else None
        self.gains = GainVector(channels)
        self.gain_range = gain_range

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """Partial latents and their estimated rate, in float32.

        Training takes the rate of noisy latents and ends each image's stream at a random gain. In evaluation latents
        are those of `encode`.

        Args:
            y: (B, C, h, w).
            gain: of every image in evaluation.
        """
        with torch.autocast(y.device.type, enabled=False):
            return self._forward_training(y.float()) if self.training else self._forward_evaluation(y.float(), gain)

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Latents y (1, C, h, w) to one section: the shift of the gain, z, and the trits."""
        encoder, shift = SymbolEncoder(), shift_of(gain)
        quantiser = self.gains.quantiser(shift)
        psi = self.side.encode(encoder, self.side.analyse(y))
        mean, prior = self._prior(psi, quantiser)
        values = quantiser.quantise(y.double() * UNIT - mean).long()
        self._code_planes(psi, prior, quantiser, TritEncoder(encoder, values))
        return (pack_shift(shift) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The latents (1, *shape) of a section or of any prefix of it. Raises BitstreamError."""
        empty = len(sections) == 1 and len(sections[0]) < 2
        shift, data = (0, b"") if empty else unpack_shift(sections)
        decoder, quantiser = PrefixDecoder(data), self.gains.quantiser(shift)
        psi, complete = self.side.decode_prefix(decoder, *shape[1:])
        mean, prior = self._prior(psi, quantiser)
        if complete:
            intervals = self._code_planes(psi, prior, quantiser, TritDecoder(decoder))
        else:
            intervals = self.tables.start(prior)
        return (self._reconstruct(psi, mean, prior, quantiser, intervals) / UNIT).float()

    def _prior(self, psi: Tensor, quantiser: Quantiser) -> tuple[Tensor, Gaussians]:
        """Means of latents, in fixed point, and the Gaussians of their distances from these."""
        offset = to_fixed_point(self._running_parameters())
        mean, log_scale = (fixed_point_forward(self.parameters_net, psi) + offset).chunk(2, dim=1)
        units = units_of(log_scale, quantiser.shift)
        return mean, Gaussians(torch.zeros_like(units), units)

    def _running_parameters(self) -> Tensor:
        """(2C, 1, 1) running means and log-scales, which the entropy parameters are offsets from."""
        return torch.cat((self.side.typical.mean, self.side.typical.log_scale))[:, None, None]

    def _code_planes(self, psi: Tensor, prior: Gaussians, quantiser: Quantiser, coder: TritCoder) -> Intervals:
        """Code every trit that is worth its bits, until a prefix ends; the intervals after the last."""
        state = TritState(self.tables, prior)
        for stage in _STAGES:
            while len(places := state.places_in_stage(stage)):
                places = places[(-state.priorities[places]).argsort(stable=True)]
                gaussians = state.prior
                if self.sharper is not None and _WORTHWHILE * len(places) > len(state.priorities):
                    decoded = self._decoded_features(prior, quantiser.step, state.shaped())
                    gaussians = Gaussians(*flat(self._refined(self.sharper, psi, prior, decoded)))
                intervals = state.at(places)
                rows = self.tables.frequencies[self.tables.place(Gaussians(*at(gaussians, places)), intervals)]
                trits = coder(places, intervals, rows)
                state.refine(places[: len(trits)], trits)
                if len(trits) < len(places):
                    return state.shaped()
            if stage % STAGES_PER_PLANE == 0 and not coder.outliers(state, stage // STAGES_PER_PLANE):
                return state.shaped()
        return state.shaped()

    def _refined(self, net: Refinement, psi: Tensor, prior: Gaussians, decoded: Tensor) -> Gaussians:
        """The Gaussians as a refinement moves them, in integers."""
        return self.tables.moved(prior, *net.forward_fixed_point(psi, decoded).chunk(2, dim=1))

    def _refined_floats(self, net: Refinement, psi: Tensor, prior: Gaussians, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales in bins as a refinement moves them, in floats and with gradients."""
        shift, log_factor = net(psi, (decoded / UNIT).float()).chunk(2, dim=1)
        scale = scale_of(prior.units)
        return shift * scale, scale * log_factor.clamp(-_LARGEST_LOG, _LARGEST_LOG).exp()

    def _decoded_features(self, prior: Gaussians, step: Tensor, intervals: Intervals) -> Tensor:
        """Input of a refinement (B, 3C, h, w), in fixed point.

        Expected distances from the means, normalised by the running scales; their magnitudes, which say how large
        scales are nearby; and how sharp the Gaussians are beside the intervals.
        """
        place = self.tables.place(prior, intervals)
        distance = rounding_shift(self.tables.expected(place, intervals) * step, FACTOR_BITS)
        inverse = to_fixed_point(self.side.typical.inverse_scale, FACTOR_BITS)[:, None, None]
        distance = rounding_shift(distance * inverse, FACTOR_BITS).clamp_(-_FARTHEST, _FARTHEST)
        return torch.cat((distance, distance.abs(), self.tables.sharpness(place)), dim=1)

    def _reconstruct(
        self, psi: Tensor, mean: Tensor, prior: Gaussians, quantiser: Quantiser, intervals: Intervals
    ) -> Tensor:
        """Partial latents (B, C, h, w), in fixed point: the expected values within the intervals."""
        gaussians = prior
        if self.closer is not None:
            decoded = self._decoded_features(prior, quantiser.step, intervals)
            gaussians = self._refined(self.closer, psi, prior, decoded)
        expected = self.tables.expected(self.tables.place(gaussians, intervals), intervals)
        return mean + rounding_shift(expected * quantiser.step, FACTOR_BITS)

    def _forward_evaluation(self, y: Tensor, gain: float) -> EntropyOutput:
        quantiser = self.gains.quantiser(shift_of(gain))
        psi, side_bits = self.side(y, integers=True, soft=False)
        mean, prior = self._prior(psi, quantiser)
        counter = TritBitCounter(quantiser.quantise(y.double() * UNIT - mean).long())
        intervals = self._code_planes(psi, prior, quantiser, counter)
        y_hat = (self._reconstruct(psi, mean, prior, quantiser, intervals) / UNIT).float()
        return EntropyOutput(y_hat, side_bits + counter.bits)

    def _forward_training(self, y: Tensor) -> EntropyOutput:
        psi, bits = self.side(y, integers=False, soft=True)
        mean, log_scale = (self.parameters_net(psi) + self._running_parameters()).chunk(2, dim=1)
        log_gain = sample_log_gain(y, self.gain_range)
        gain = self.gains(log_gain)
        bits = bits + position_bits(quantised_likelihood(add_uniform_noise(y, 1 / gain), mean, log_scale, gain))

        values = ((y - mean) * gain).detach().round().long().flatten()
        shift = (gain.detach().double().log() / LOG_GAIN_UNIT).round()
        units = units_of(to_fixed_point(log_scale), shift)
        prior = Gaussians(torch.zeros_like(units), units)
        step = (2.0**FACTOR_BITS / gain).detach().double().round()
        intervals, rounds = self._training_rounds(prior, values)
        if self.sharper is not None:
            bits = bits + self._bits_of_rounds(self.sharper, psi, prior, step, values, rounds)
        expected = self._expected_values(psi, prior, step, intervals)
        y_hat = mean.detach() + expected.float() / gain
        return EntropyOutput(y_hat + (y - y.detach()), bits, log_gain)

    def _training_rounds(self, prior: Gaussians, values: Tensor) -> tuple[Intervals, list[_Round]]:
        """Go through the planes with known values (n,): the final intervals, and the rounds worth a refinement."""
        state = TritState(self.tables, prior)
        rounds = []
        for stage in _STAGES:
            while len(places := state.places_in_stage(stage)):
                if _WORTHWHILE * len(places) > len(values):
                    rounds.append(_Round(3.0 ** (stage / STAGES_PER_PLANE), state.copy(), places))
                state.refine(places, next_trits(values[places], state.at(places)))
            if stage % STAGES_PER_PLANE == 0:
                outliers = state.outliers(values, stage // STAGES_PER_PLANE)
                state.reveal(outliers, values[outliers])
        return state.shaped(), rounds

    def _expected_values(self, psi: Tensor, prior: Gaussians, step: Tensor, intervals: Intervals) -> Tensor:
        """Values to reconstruct, in bins, in floats: with gradients to the distortion reduction where there is one."""
        if self.closer is None:
            return self.tables.expected(self.tables.place(prior, intervals), intervals) / UNIT
        decoded = self._decoded_features(prior, step, intervals)
        mean, scale = (part.double() for part in self._refined_floats(self.closer, psi, prior, decoded))
        low, high = (intervals.middle + side * intervals.width / 2 for side in (-1, 1))
        return mean + scale * truncated_gaussian_mean((low - mean) / scale, (high - mean) / scale)

    def _bits_of_rounds(
        self,
        net: Refinement,
        psi: Tensor,
        prior: Gaussians,
        step: Tensor,
        values: Tensor,
        rounds: Sequence[_Round],
    ) -> Tensor:
        """(B, h, w) bits of the trits of randomly sampled rounds, weighted by the width of a stage's intervals."""
        shape = prior.units.shape
        bits = psi.new_zeros(psi[:, 0].shape)
        sampled = torch.randint(max(1, len(rounds)), (_SAMPLED_ROUNDS,)).tolist()[: _SAMPLED_ROUNDS * len(rounds)]
        for weight, intervals, places in (rounds[number] for number in sampled):
            decoded = self._decoded_features(prior, step, Intervals(*(part.view(shape) for part in intervals)))
            mean, scale = (part.flatten()[places] for part in self._refined_floats(net, psi, prior, decoded))
            nats = _nats(Intervals(*at(intervals, places)), values[places], mean, scale)
            bits = add_bits_at(bits, shape, places, weight / math.log(2) * nats)
        return bits


def _nats(intervals: Intervals, values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Cost of the next trits (n,) of values under Gaussians in bins, with frequencies bounded as in the tables."""
    third = powers_of_3(intervals.planes - 1)[:, None]
    edges = intervals.middle[:, None] + third * torch.tensor([-1.5, -0.5, 0.5, 1.5], device=values.device)
    edges = (edges - mean[:, None].double()) / scale[:, None].double()
    shares = log_interval_probability(edges[:, :-1], edges[:, 1:]).softmax(dim=1)
    coded = (1 - 3 / TOTAL) * shares + 1 / TOTAL
    return -coded.gather(1, next_trits(values, intervals)[:, None])[:, 0].log().float()
