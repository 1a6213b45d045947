"""Trit-plane model: progressive coding of latents, of which every prefix of the stream decodes.

The progressive codec that "Image Compression Base on Trit-Plane and Attention" (paper 001; Fang et al. 2024) describes,
after DPICT (Lee et al., CVPR 2022) and CTC (Jeon et al., CVPR 2023). components.coding.trit_planes has it in use, in
integers, and says how a stream is made. Here it trains: intervals and trits are integers in training too, and come from
there.

Departure from CTC: its refinements are convolutions in floats. Here everything that a trit or a decoded value depends
on is computed in fixed-point arithmetic (components.coding.fixed_point).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...coding.fixed_point import UNIT, Values
from ...coding.gain import FACTOR_BITS, LOG_GAIN_UNIT
from ...coding.range_coder import TOTAL
from ...coding.trit_planes import TritPlaneCoder, TritPlaneStructure, decoded_features, is_worthwhile
from ...coding.trit_state import STAGES, STAGES_PER_PLANE, TritState
from ...coding.trit_tables import Gaussians, Intervals, TritTables, next_trits, powers_of_3, units_of
from ...layers.hyper import entropy_parameters
from ..conditional import quantised_likelihood
from ..gain import GainVector
from ..hyper_latents import HyperLatents
from ..integers import CodingModule, Integers, fixed_point, layers
from ..relaxation import (
    EntropyOutput,
    add_uniform_noise,
    log_interval_probability,
    position_bits,
    sample_log_gain,
    truncated_gaussian_mean,
)
from .refinement import Refinement
from .trit_tables import TritTableBuffers, scale_of

_SAMPLED_ROUNDS = 2  # rounds of each batch whose rate a training step estimates
_LARGEST_LOG = 4.0


class _Round(NamedTuple):
    """One round of training: the weight of its rate, the intervals before it, and the elements that it codes."""

    weight: float
    intervals: Intervals
    places: NDArray[np.int64]


class _Known(NamedTuple):
    """What training knows of a batch of latents (B, C, h, w), in integers.

    Attributes:
        tables: of trits.
        prior: Gaussians of the distances of latents from their means.
        values: (n,) these distances in quantiser steps, rounded.
        step: (B, C, 1, 1) quantiser steps, in 2^-FACTOR_BITS.
        inverse_scale: (C, 1, 1) one over the running scales, likewise.
    """

    tables: TritTables
    prior: Gaussians
    values: NDArray[np.int64]
    step: Values
    inverse_scale: Values

    def features(self, intervals: Intervals) -> Values:
        """The input of a refinement (B, 3C, h, w), in fixed point, from intervals in any shape."""
        shaped = Intervals(*(part.reshape(self.prior.units.shape) for part in intervals))
        return decoded_features(self.tables, self.prior, shaped, self.step, self.inverse_scale)


class TritPlaneModel(CodingModule[TritPlaneCoder]):
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
        self.tables = TritTableBuffers()
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
            if self.training:
                return self._forward_training(y.float())
            return EntropyOutput(*self.side.estimated(y.float(), partial(self.coder.estimate, gain=gain)))

    def coding_parts(self) -> tuple[TritPlaneStructure, Integers]:
        """What a TritPlaneCoder is made of."""
        h_s, side = layers(self.side.h_s, "h_s")
        parameters, of_all = layers(self.parameters_net, "parameters")
        refinements = [
            (None, Integers()) if net is None else net.coding_parts(name)
            for name, net in (("sharper", self.sharper), ("closer", self.closer))
        ]
        (sharper, _), (closer, _) = refinements
        structure = TritPlaneStructure(h_s=h_s, parameters=parameters, sharper=sharper, closer=closer)
        integers: Integers = {
            "missing": fixed_point(self.side.prior.typical.mean, 0),
            "offset": fixed_point(self._running_parameters().flatten()),
            "running.inverse_scale": fixed_point(self.side.typical.inverse_scale, FACTOR_BITS),
        }
        tables = self.side.prior.integers(), self.gains.integers(), self.tables.integers()
        for further in (side, of_all, *(each for _, each in refinements), *tables):
            integers.update(further)
        return structure, integers

    def new_coder(self) -> TritPlaneCoder:
        """See CodingModule."""
        return TritPlaneCoder(*self.coding_parts())

    def hyper_latents(self, y: Tensor) -> Tensor:
        """z (B, hyper_channels, h / 4, w / 4) of latents y (B, channels, h, w), before rounding."""
        return self.side.analyse(y)

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Latents y (1, C, h, w) to one section: the shift of the gain, z, and the trits."""
        latents, side = (each[0].double().cpu().numpy() for each in (y, self.hyper_latents(y)))
        return self.coder.encode(latents, side, gain)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The latents (1, *shape) of a section or of any prefix of it. Raises BitstreamError."""
        y_hat = torch.from_numpy(self.coder.decode(sections, shape))
        return y_hat[None].to(self.side.typical.mean.device).float()

    def _running_parameters(self) -> Tensor:
        """(2C, 1, 1) running means and log-scales, which the entropy parameters are offsets from."""
        return torch.cat((self.side.typical.mean, self.side.typical.log_scale))[:, None, None]

    def _forward_training(self, y: Tensor) -> EntropyOutput:
        psi, bits = self.side(y, soft=True)
        mean, log_scale = (self.parameters_net(psi) + self._running_parameters()).chunk(2, dim=1)
        log_gain = sample_log_gain(y, self.gain_range)
        gain = self.gains(log_gain)
        bits = bits + position_bits(quantised_likelihood(add_uniform_noise(y, 1 / gain), mean, log_scale, gain))
        known = self._known(y, mean, log_scale, gain)
        intervals, rounds = _training_rounds(known)
        if self.sharper is not None:
            bits = bits + self._bits_of_rounds(self.sharper, psi, known, rounds)
        y_hat = mean.detach() + self._expected_values(psi, known, intervals).float() / gain
        return EntropyOutput(y_hat + (y - y.detach()), bits, log_gain)

    def _known(self, y: Tensor, mean: Tensor, log_scale: Tensor, gain: Tensor) -> _Known:
        shift = (gain.detach().double().log() / LOG_GAIN_UNIT).round()
        units = units_of(fixed_point(log_scale).astype(np.float64), _array(shift))
        return _Known(
            TritTables(self.tables.integers()),
            Gaussians(np.zeros_like(units), units),
            _array(((y - mean) * gain).round()).astype(np.int64).ravel(),
            _array((2.0**FACTOR_BITS / gain).double().round()),
            fixed_point(self.side.typical.inverse_scale, FACTOR_BITS)[:, None, None].astype(np.float64),
        )

    def _refined(self, net: Refinement, psi: Tensor, prior: Gaussians, features: Values) -> tuple[Tensor, Tensor]:
        """Means and scales in bins as a refinement moves them, in floats and with gradients."""
        shift, log_factor = net(psi, torch.from_numpy(features / UNIT).to(psi)).chunk(2, dim=1)
        scale = scale_of(torch.from_numpy(prior.units).to(psi.device))
        return shift * scale, scale * log_factor.clamp(-_LARGEST_LOG, _LARGEST_LOG).exp()

    def _expected_values(self, psi: Tensor, known: _Known, intervals: Intervals) -> Tensor:
        """Values to reconstruct, in bins, in floats: with gradients to the distortion reduction where there is one."""
        if self.closer is None:
            expected = known.tables.expected(known.tables.place(known.prior, intervals), intervals)
            return torch.from_numpy(expected).to(psi.device) / UNIT
        refined = self._refined(self.closer, psi, known.prior, known.features(intervals))
        mean, scale = (part.double() for part in refined)
        middle, width = (torch.from_numpy(part).to(psi.device) for part in (intervals.middle, intervals.width))
        low, high = (middle + side * width / 2 for side in (-1, 1))
        return mean + scale * truncated_gaussian_mean((low - mean) / scale, (high - mean) / scale)

    def _bits_of_rounds(self, net: Refinement, psi: Tensor, known: _Known, rounds: Sequence[_Round]) -> Tensor:
        """(B, h, w) bits of the trits of randomly sampled rounds, weighted by the width of a stage's intervals."""
        bits = psi.new_zeros(psi[:, 0].shape)
        sampled = torch.randint(max(1, len(rounds)), (_SAMPLED_ROUNDS,)).tolist()[: _SAMPLED_ROUNDS * len(rounds)]
        for weight, intervals, places in (rounds[number] for number in sampled):
            chosen = torch.from_numpy(places).to(psi.device)
            refined = self._refined(net, psi, known.prior, known.features(intervals))
            mean, scale = (part.flatten()[chosen] for part in refined)
            nats = _nats(intervals.at(places), known.values[places], mean, scale)
            bits = _add_bits_at(bits, known.prior.units.shape, chosen, weight / math.log(2) * nats)
        return bits


def _training_rounds(known: _Known) -> tuple[Intervals, list[_Round]]:
    """Go through the planes with known values: the final intervals, and the rounds worth a refinement."""
    state, values = TritState(known.tables, known.prior), known.values
    rounds = []
    for stage in STAGES:
        while len(places := state.places_in_stage(stage)):
            if is_worthwhile(len(places), len(values)):
                rounds.append(_Round(3.0 ** (stage / STAGES_PER_PLANE), state.copy(), places))
            state.refine(places, next_trits(values[places], state.intervals.at(places)))
        if stage % STAGES_PER_PLANE == 0:
            outliers = state.outliers(values, stage // STAGES_PER_PLANE)
            state.reveal(outliers, values[outliers])
    return state.shaped(), rounds


def _nats(intervals: Intervals, values: NDArray[np.int64], mean: Tensor, scale: Tensor) -> Tensor:
    """Cost of the next trits (n,) of values under Gaussians in bins, with frequencies bounded as in the tables."""
    third = powers_of_3(intervals.planes - 1)[:, None]
    edges = torch.from_numpy(intervals.middle[:, None] + third * np.array([-1.5, -0.5, 0.5, 1.5])).to(mean.device)
    edges = (edges - mean[:, None].double()) / scale[:, None].double()
    shares = log_interval_probability(edges[:, :-1], edges[:, 1:]).softmax(dim=1)
    coded = (1 - 3 / TOTAL) * shares + 1 / TOTAL
    trits = torch.from_numpy(next_trits(values, intervals)).to(mean.device)
    return -coded.gather(1, trits[:, None])[:, 0].log().float()


def _add_bits_at(total: Tensor, shape: tuple[int, ...], places: Tensor, bits: Tensor) -> Tensor:
    """Add bits of elements to the bits of their positions.

    Args:
        total: (B, h, w) bits so far.
        shape: (B, C, h, w) of the elements.
        places: (n,) flat indices of elements.
        bits: (n,) bits of these.

    Returns:
        (B, h, w), a new tensor.
    """
    image, plane = math.prod(shape[1:]), math.prod(shape[2:])
    return total.flatten().index_add(0, places // image * plane + places % plane, bits).view(total.shape)


def _array(x: Tensor) -> Values:
    """A tensor as an array, without a gradient."""
    array: Values = x.detach().cpu().numpy()
    return array
