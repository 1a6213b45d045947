"""The learned factorized prior: each channel has a density of its own (Balle et al. 2018, appendix 6.1)."""

import copy
import math
import struct
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from components.entropy.channel_flags import decode_flags, encode_flags
from components.entropy.escapes import decode_values, encode_values
from components.entropy.gain import FACTOR_BITS, GainVector, Quantiser, pack_shift, unpack_shift
from components.entropy.gaussian_tables import quantise_probabilities
from components.entropy.range_coder import (
    TOTAL,
    EndOfPrefixError,
    Ints,
    PrefixDecoder,
    SymbolDecoder,
    SymbolEncoder,
)
from components.entropy.relaxation import (
    EntropyOutput,
    add_uniform_noise,
    constant_log_gain,
    position_bits,
    round_straight_through,
    sample_log_gain,
)
from components.entropy.running_statistics import RunningStatistics
from components.errors import BitstreamError
from components.layers.fixed_point import UNIT, rounding_shift

_WIDTHS = (1, 3, 3, 3, 1)
_INITIAL_SCALE = 1.0
_REACH = 63  # values beyond are escaped

ChannelSelection = NDArray[np.bool_] | slice
"""Some of the channels."""
ALL_CHANNELS = slice(None)


class Density(nn.Module):
    """The cumulative distribution of each of C channels, as logits: a small network with positive weights."""

    def __init__(self, channels: int):
        super().__init__()
        scale = _INITIAL_SCALE ** (1 / (len(_WIDTHS) - 1))
        pairs = list(pairwise(_WIDTHS))
        initial = [math.log(math.expm1(1 / scale / outputs)) for _, outputs in pairs]
        self.matrices = nn.ParameterList(
            torch.full((channels, outputs, inputs), value)
            for (inputs, outputs), value in zip(pairs, initial, strict=True)
        )
        self.biases = nn.ParameterList(torch.rand(channels, outputs, 1) - 0.5 for _, outputs in pairs)
        self.factors = nn.ParameterList(torch.zeros(channels, outputs, 1) for _, outputs in pairs[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(C, n) values to (C, n) logits of the distribution at them."""
        y = x[:, None]
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            y = torch.baddbmm(bias, F.softplus(matrix), y)
            if k < len(self.factors):
                y = y + self.factors[k].tanh() * y.tanh()
        return y[:, 0]

    def likelihood(self, x: Tensor, width: Tensor | float) -> Tensor:
        """The probability of intervals of `width` around (C, n) values."""
        lower, upper = self(x - width / 2), self(x + width / 2)
        sign = -torch.sign((lower + upper).detach())  # the tail where sigmoids do not cancel
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()


class FactorizedPrior(nn.Module):
    """Rate of integers (B, C, h, w), each channel with its own density, and their coding with integer tables.

    The tables are a buffer, made anew from the densities when these have changed and someone asks for the state or
    for bytes; a loaded checkpoint keeps those it came with. There is one for each channel and level of its gain, from
    -levels to levels.
    """

    GAIN_LEVELS_PER_OCTAVE: ClassVar[int] = 8

    tables: Tensor

    def __init__(self, channels: int, gain_levels: int = 0):
        super().__init__()
        self.gain_levels = gain_levels
        self.typical = RunningStatistics(channels)
        self.density = Density(channels)  # of values in units of what is typical
        self.register_buffer("tables", torch.zeros(channels, 2 * gain_levels + 1, 2 * _REACH + 2, dtype=torch.int32))
        self._stale = True
        self.register_state_dict_pre_hook(FactorizedPrior._before_state_dict)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(FactorizedPrior._after_load)  # type: ignore[no-untyped-call]

    def bits(self, y: Tensor, step: Tensor | None = None) -> Tensor:
        """(B, h, w) bits of y (B, C, h, w), noisy or rounded with steps of `step` (B, C, 1, 1), or 1."""
        if self.training:
            self._stale = True
            self.typical.update(y)
        by_channel = self.typical.normalise(y).transpose(0, 1)
        width = self.typical.inverse_scale[:, None, None] * (1.0 if step is None else step)
        likelihood = self.density.likelihood(by_channel.flatten(1), width.expand(y.shape).transpose(0, 1).flatten(1))
        return position_bits(likelihood.view(by_channel.shape).transpose(0, 1))

    def encode(
        self,
        encoder: SymbolEncoder,
        symbols: Ints,
        levels: Ints | None = None,
        channels: ChannelSelection = ALL_CHANNELS,
    ) -> None:
        """Code the `channels` rows of symbols (C, n), channel c with the table of levels[c], or of gain 1."""
        for values, table in zip(symbols[channels], self._tables_at(levels)[channels], strict=True):
            encode_values(encoder, values, table)

    def decode(
        self, decoder: SymbolDecoder, count: int, levels: Ints | None = None, channels: ChannelSelection = ALL_CHANNELS
    ) -> Ints:
        """The symbols (C, count), zero but where `channels`. Raises BitstreamError."""
        symbols = np.zeros((len(self.tables), count), dtype=np.int32)
        tables = self._tables_at(levels)
        for channel in np.arange(len(symbols))[channels]:
            symbols[channel] = decode_values(decoder, count, tables[channel])
        return symbols

    def decode_prefix(self, decoder: PrefixDecoder, count: int) -> tuple[Ints, bool]:
        """What a prefix knows of the symbols (C, count), and whether that is all; other channels are as typical."""
        symbols: Ints = self.typical.mean.round().int().cpu().numpy()[:, None].repeat(count, axis=1)
        try:
            for row, table in zip(symbols, self._tables_at(None), strict=True):
                row[:] = decode_values(decoder, count, table)
        except EndOfPrefixError:
            return symbols, False
        return symbols, True

    def best_level_offset(self, symbols: Ints, levels: Ints, channels: ChannelSelection = ALL_CHANNELS) -> int:
        """What to add to levels (C,) so that the `channels` rows of symbols (C, n) take the fewest bits.

        Densities learn what a step of one looks like, from noise; of other steps they may know little.
        """
        self._refresh()
        entries = self.tables.shape[-1]
        placed = np.where(np.abs(symbols) > _REACH, entries - 1, symbols + _REACH)
        counts = np.stack([np.bincount(row, minlength=entries) for row in placed])
        bits = np.einsum("cs,cls->cl", counts, -np.log2(self.tables.cpu().numpy() / TOTAL))
        costs = [bits[np.arange(len(bits)), self._index(levels + k)][channels].sum() for k in self._offsets()]
        return self._offsets()[int(np.argmin(costs))]

    def _offsets(self) -> range:
        return range(-2 * self.gain_levels, 2 * self.gain_levels + 1)

    def _index(self, levels: Ints) -> Ints:
        index: Ints = levels.clip(-self.gain_levels, self.gain_levels) + self.gain_levels
        return index

    def _tables_at(self, levels: Ints | None) -> Ints:
        self._refresh()
        tables: Ints = self.tables.cpu().numpy()
        chosen: Ints = tables[np.arange(len(tables)), self.gain_levels if levels is None else self._index(levels)]
        return chosen

    @torch.no_grad()
    def _refresh(self) -> None:
        if not self._stale:
            return
        density = copy.deepcopy(self.density).double()
        values = torch.arange(-_REACH, _REACH + 1, device=self.tables.device, dtype=torch.float64)
        mean, inverse = (part.double()[:, None] for part in (self.typical.mean, self.typical.inverse_scale))
        for level in range(-self.gain_levels, self.gain_levels + 1):
            step = 2 ** (-level / self.GAIN_LEVELS_PER_OCTAVE)
            mass = density.likelihood((values * step - mean) * inverse, step * inverse).cpu().numpy()
            self.tables[:, level + self.gain_levels] = torch.from_numpy(
                np.stack([quantise_probabilities(row) for row in mass])
            )
        self._stale = False

    @staticmethod
    def _before_state_dict(module: "FactorizedPrior", prefix: str, keep_vars: bool) -> None:  # noqa: ARG004
        module._refresh()

    @staticmethod
    def _after_load(module: "FactorizedPrior", incompatible: Any) -> None:  # noqa: ARG004
        module._stale = False


class FactorizedModel(nn.Module):
    """The entropy model of a codec whose latents have no other prior: y (B, C, h, w), quantised channel by channel.

    flags: whether streams tell first which channels are not all zero, and hold no others.
    """

    _LEVELS: ClassVar[int] = 12  # an octave and a half of gain on either side of 1

    def __init__(self, channels: int, *, gain_range: float, channel_flags: bool = False):
        super().__init__()
        self.channel_flags = channel_flags
        self.gains = GainVector(channels)
        self.prior = FactorizedPrior(channels, self._LEVELS)
        self.gain_range = gain_range

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """Noisy in training for the rate, rounded straight-through for the picture, in float32."""
        with torch.autocast(y.device.type, enabled=False):
            y = y.float()
            log_gain = sample_log_gain(y, self.gain_range) if self.training else constant_log_gain(y, gain)
            gains = self.gains(log_gain)
            y_hat = round_straight_through(y * gains) / gains
            bits = self.prior.bits(add_uniform_noise(y, 1 / gains) if self.training else y_hat, 1 / gains)
            return EntropyOutput(y_hat, bits, log_gain)

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """One section of y (1, C, h, w): the gain's shift, what to add to the levels it implies, flags, symbols."""
        shift = self.gains.shift_of(gain)
        quantiser = self.gains.quantiser(shift)
        symbols = (y[0].double() * quantiser.gain * 2.0**-FACTOR_BITS).round().flatten(1).int().cpu().numpy()
        levels = _levels(quantiser)
        encoder = SymbolEncoder()
        channels = encode_flags(encoder, np.any(symbols, axis=1)) if self.channel_flags else ALL_CHANNELS
        offset = self.prior.best_level_offset(symbols, levels, channels)
        self.prior.encode(encoder, symbols, levels + offset, channels)
        return (pack_shift(shift) + struct.pack("<b", offset) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The quantised code (1, C, h, w). Raises BitstreamError."""
        shift, data = unpack_shift(sections)
        if not data:
            raise BitstreamError("corrupted bitstream: it ends in its header")
        (offset,) = struct.unpack_from("<b", data)
        quantiser = self.gains.quantiser(shift)
        levels = _levels(quantiser) + offset
        decoder = SymbolDecoder(data[1:])
        channels = decode_flags(decoder, shape[0]) if self.channel_flags else ALL_CHANNELS
        symbols = self.prior.decode(decoder, shape[1] * shape[2], levels, channels).reshape(shape)
        restored = quantiser.dequantise(torch.from_numpy(symbols).to(quantiser.step.device))
        return (restored / UNIT).float()[None]


# Shifts in 2^-16 of a level; the literal is round(2^16 * GAIN_LEVELS_PER_OCTAVE * STEP / (UNITS_PER_TABLE * log(2))).
LEVEL_PER_SHIFT = 400


def _levels(quantiser: Quantiser) -> Ints:
    levels: Ints = rounding_shift(quantiser.shift * LEVEL_PER_SHIFT, 16).flatten().int().cpu().numpy()
    return levels
