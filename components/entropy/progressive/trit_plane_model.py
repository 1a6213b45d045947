"""Progressive coding of latents: any first bytes of a stream give the best latents for that many.

    z_hat -> psi -> mean and scale of each element; its distance from the mean, in base 3, most significant trits first
    round: (psi, what is known so far) -> sharper Gaussians -> trits in the order of their ranks -> range coder
    end:   (psi, what is known) -> closer values, each within the interval that its trits leave it

A plane holds the trits whose rank lies between two bounds, a factor of nine in distortion for each bit, which is what
one trit makes where the density is flat. It comes in two stages by rank, and these in rounds: the next trit of each
element that has one there. Values that trits would not reach are told at a plane's end, whole. Ranks follow
from the hyperprior and the trits before alone, so that the decoder finds the order by itself (Lee et al. 2022, DPICT).
What is known of neighbours sharpens the Gaussians that the trits are coded with, and moves the values that are
reconstructed (Jeon et al. 2023, CTC, who take convolutions in floats for both); here everything that a trit or a value
depends on is an integer.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from components.entropy.conditional import quantised_likelihood
from components.entropy.gain import (
    FACTOR_BITS,
    LOG_GAIN_UNIT,
    GainVector,
    Quantiser,
    pack_shift,
    unpack_shift,
)
from components.entropy.hyper_latents import HyperLatents
from components.entropy.progressive.trit_coder import (
    STAGES_PER_PLANE,
    TritBitCounter,
    TritCoder,
    TritDecoder,
    TritEncoder,
    TritState,
    add_bits_at,
    at,
    flat,
)
from components.entropy.progressive.trit_tables import (
    Gaussians,
    Intervals,
    TritTables,
    next_trits,
    powers_of_3,
    scale_of,
    units_of,
)
from components.entropy.range_coder import TOTAL, PrefixDecoder, SymbolEncoder
from components.entropy.relaxation import (
    EntropyOutput,
    add_uniform_noise,
    log_interval_probability,
    position_bits,
    sample_log_gain,
    truncated_gaussian_mean,
)
from components.layers.fixed_point import UNIT, Gate, fixed_point_forward, rounding_shift, to_fixed_point
from components.layers.hyper import entropy_parameters
from components.layers.residual import conv3x3

_DRAWN = 2  # rounds of each batch that a training step looks at
_WORTHWHILE = 16  # a refinement pays its time where a round holds more than one in so many elements

_STAGES = range(8 * STAGES_PER_PLANE - 1, -1, -1)
_FARTHEST = 8 * UNIT
_LARGEST_LOG = 4.0


class Refinement(nn.Module):
    """(B, F, h, w) psi and (B, 3C, h, w) what is known to how far means and scales move (B, 2C, h, w).

    One convolution gathers what is known around; a gate weighs it, with psi, for each element.
    """

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.around = nn.Sequential(conv3x3(3 * channels, features))
        last = nn.Conv2d(features, 2 * channels, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.weigh = nn.Sequential(nn.Conv2d(2 * features, 2 * features, 1), Gate(), last)

    def forward(self, psi: Tensor, known: Tensor) -> Tensor:
        """In floats."""
        out: Tensor = self.weigh(torch.cat((psi, self.around(known)), dim=1))
        return out

    def forward_fixed_point(self, psi: Tensor, known: Tensor) -> Tensor:
        """In fixed point."""
        return fixed_point_forward(self.weigh, torch.cat((psi, fixed_point_forward(self.around, known)), dim=1))


class TritPlaneModel(nn.Module):
    """Rate of latents y (B, C, h, w), h and w multiples of 4, and their embedded coding.

    The gain says where a stream ends: where trits take away less than its square's share of distortion for each bit, as
    a quantiser with steps of 1 / gain would. hyper_channels, features: of z, and of what it tells. gain_range: of
    the gains that training draws. rate_reduction, distortion_reduction: whether what is known sharpens probabilities,
    and moves reconstructed values.
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
        """In training, the rate of noisy latents, and latents cut where a drawn gain says; else those of `gain`."""
        with torch.autocast(y.device.type, enabled=False):
            return self._forward_training(y.float()) if self.training else self._forward_evaluation(y.float(), gain)

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """One section: the shift of the gain, z, and the trits of y (1, C, h, w)."""
        encoder, shift = SymbolEncoder(), self.gains.shift_of(gain)
        quantiser = self.gains.quantiser(shift)
        psi = self.side.encode(encoder, y)
        mean, prior = self._prior(psi, quantiser)
        self._code_planes(
            psi, prior, quantiser, TritEncoder(encoder, quantiser.quantise(y.double() * UNIT - mean).long())
        )
        return (pack_shift(shift) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The latents (1, C, h, w) that any first bytes of a section give. Raises BitstreamError."""
        nothing = len(sections) == 1 and len(sections[0]) < 2
        shift, data = (0, b"") if nothing else unpack_shift(sections)
        decoder, quantiser = PrefixDecoder(data), self.gains.quantiser(shift)
        psi, complete = self.side.decode_prefix(decoder, *shape[1:])
        mean, prior = self._prior(psi, quantiser)
        known = self._code_planes(psi, prior, quantiser, TritDecoder(decoder)) if complete else self.tables.start(prior)
        return (self._values(psi, mean, prior, quantiser, known) / UNIT).float()

    def _prior(self, psi: Tensor, quantiser: Quantiser) -> tuple[Tensor, Gaussians]:
        """Means of latents, and the Gaussians of their distance from them, in integers."""
        typical = to_fixed_point(self._running_statistics())
        mean, log_scale = (fixed_point_forward(self.parameters_net, psi) + typical).chunk(2, dim=1)
        units = units_of(log_scale, quantiser.shift)
        return mean, Gaussians(torch.zeros_like(units), units)

    def _running_statistics(self) -> Tensor:
        return torch.cat((self.side.typical.mean, self.side.typical.log_scale))[:, None, None]

    def _code_planes(self, psi: Tensor, prior: Gaussians, quantiser: Quantiser, trits: TritCoder) -> Intervals:
        """Every trit that is worth its bits; what is known then."""
        state = TritState(self.tables, prior)
        for stage in _STAGES:
            while len(places := state.places_in_stage(stage)):
                places = places[(-state.priorities[places]).argsort(stable=True)]
                coded_with = state.prior
                if self.sharper is not None and _WORTHWHILE * len(places) > len(state.priorities):
                    seen = self._context(prior, quantiser.step, state.shaped())
                    coded_with = Gaussians(*flat(self._refined(self.sharper, psi, prior, seen)))
                here = state.at(places)
                rows = self.tables.frequencies[self.tables.place(Gaussians(*at(coded_with, places)), here)]
                told = trits(places, here, rows)
                state.refine(places[: len(told)], told)
                if len(told) < len(places):
                    return state.shaped()
            if stage % STAGES_PER_PLANE == 0 and not trits.outliers(state, stage // STAGES_PER_PLANE):
                return state.shaped()
        return state.shaped()

    def _refined(self, net: Refinement, psi: Tensor, prior: Gaussians, seen: Tensor) -> Gaussians:
        return self.tables.moved(prior, *net.forward_fixed_point(psi, seen).chunk(2, dim=1))

    def _refined_floats(self, net: Refinement, psi: Tensor, prior: Gaussians, seen: Tensor) -> tuple[Tensor, Tensor]:
        """`_refined` in floats: means and scales in bins."""
        shift, log_factor = net(psi, (seen / UNIT).float()).chunk(2, dim=1)
        scale = scale_of(prior.units)
        return shift * scale, scale * log_factor.clamp(-_LARGEST_LOG, _LARGEST_LOG).exp()

    def _context(self, prior: Gaussians, step: Tensor, known: Intervals) -> Tensor:
        """What is known, for a refinement (B, 3C, h, w), in fixed point.

        Expected distances; their sizes, which is what scales follow from; how sharp the Gaussians still are.
        """
        place = self.tables.place(prior, known)
        distance = rounding_shift(self.tables.expected(place, known) * step, FACTOR_BITS)
        inverse = to_fixed_point(self.side.typical.inverse_scale, FACTOR_BITS)[:, None, None]
        distance = rounding_shift(distance * inverse, FACTOR_BITS).clamp_(-_FARTHEST, _FARTHEST)
        return torch.cat((distance, distance.abs(), self.tables.sharpness(place)), dim=1)

    def _values(self, psi: Tensor, mean: Tensor, prior: Gaussians, quantiser: Quantiser, known: Intervals) -> Tensor:
        """The latents to reconstruct, in fixed point."""
        gaussians = prior
        if self.closer is not None:
            gaussians = self._refined(self.closer, psi, prior, self._context(prior, quantiser.step, known))
        expected = self.tables.expected(self.tables.place(gaussians, known), known)
        return mean + rounding_shift(expected * quantiser.step, FACTOR_BITS)

    def _forward_evaluation(self, y: Tensor, gain: float) -> EntropyOutput:
        quantiser = self.gains.quantiser(self.gains.shift_of(gain))
        psi, bits = self.side(y, integers=True)
        mean, prior = self._prior(psi, quantiser)
        counted = TritBitCounter(quantiser.quantise(y.double() * UNIT - mean).long())
        known = self._code_planes(psi, prior, quantiser, counted)
        return EntropyOutput((self._values(psi, mean, prior, quantiser, known) / UNIT).float(), bits + counted.bits)

    def _forward_training(self, y: Tensor) -> EntropyOutput:
        psi, bits = self.side(y, integers=False)
        mean, log_scale = (self.parameters_net(psi) + self._running_statistics()).chunk(2, dim=1)
        log_gain = sample_log_gain(y, self.gain_range)
        gain = self.gains(log_gain)
        bits = bits + position_bits(quantised_likelihood(add_uniform_noise(y, 1 / gain), mean, log_scale, gain))

        distance = ((y - mean) * gain).detach()
        shift = (gain.detach().double().log() / LOG_GAIN_UNIT).round()
        units = units_of(to_fixed_point(log_scale), shift)
        prior = Gaussians(torch.zeros_like(units), units)
        state, values = TritState(self.tables, prior), distance.round().long().flatten()
        step = (2.0**FACTOR_BITS / gain).detach().double().round()
        rounds = []
        for stage in _STAGES:
            while len(places := state.places_in_stage(stage)):
                if _WORTHWHILE * len(places) > len(values):
                    rounds.append((3.0 ** (stage / STAGES_PER_PLANE), state.copy(), places))
                state.refine(places, next_trits(values[places], state.at(places)))
            if stage % STAGES_PER_PLANE == 0:
                outliers = state.outliers(values, stage // STAGES_PER_PLANE)
                state.reveal(outliers, values[outliers])
        known = state.shaped()
        if self.sharper is not None:
            bits = bits + self._bits_of_rounds(self.sharper, psi, prior, step, values, rounds)
        if self.closer is None:
            expected = self.tables.expected(self.tables.place(prior, known), known) / UNIT
        else:
            shift, scale = (
                part.double()
                for part in self._refined_floats(self.closer, psi, prior, self._context(prior, step, known))
            )
            low, high = (known.middle + side * known.width / 2 for side in (-1, 1))
            expected = shift + scale * truncated_gaussian_mean((low - shift) / scale, (high - shift) / scale)
        y_hat = mean.detach() + expected.float() / gain
        return EntropyOutput(y_hat + (y - y.detach()), bits, log_gain)

    def _bits_of_rounds(
        self,
        net: Refinement,
        psi: Tensor,
        prior: Gaussians,
        step: Tensor,
        values: Tensor,
        rounds: Sequence[tuple[float, Intervals, Tensor]],
    ) -> Tensor:
        """(B, h, w) bits of the trits of rounds that are drawn, of coarse planes for more: relative to their rate."""
        shape = prior.units.shape
        bits = psi.new_zeros(psi[:, 0].shape)
        for number in torch.randint(max(1, len(rounds)), (_DRAWN,)).tolist()[: _DRAWN * len(rounds)]:
            share, known, places = rounds[number]
            seen = self._context(prior, step, Intervals(*(part.view(shape) for part in known)))
            mean, scale = (part.flatten()[places] for part in self._refined_floats(net, psi, prior, seen))
            nats = _nats(Intervals(*at(known, places)), values[places], mean, scale)
            bits = add_bits_at(bits, shape, places, share / math.log(2) * nats)
        return bits


def _nats(known: Intervals, values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """What the next trits (n,) of values cost with Gaussians of these means and scales in bins, as in the tables."""
    third = powers_of_3(known.planes - 1)[:, None]
    edges = known.middle[:, None] + third * torch.tensor([-1.5, -0.5, 0.5, 1.5], device=values.device)
    edges = (edges - mean[:, None].double()) / scale[:, None].double()
    shares = log_interval_probability(edges[:, :-1], edges[:, 1:]).softmax(dim=1)
    coded = (1 - 3 / TOTAL) * shares + 1 / TOTAL
    return -coded.gather(1, next_trits(values, known)[:, None])[:, 0].log().float()
