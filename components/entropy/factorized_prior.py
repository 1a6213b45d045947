"""Factorized prior: each channel has a learned density of its own (Ballé et al. 2018, arXiv 1802.01436, appendix 6.1).

    training   y + noise --normalise by running statistics--> Density --difference of the CDF--> likelihood --> bits
    tables     Density at every value and gain level, in float64 --> integer frequencies, a buffer of the checkpoint
    coding     integers --table of the channel and its gain level, escapes--> range coder --> bytes, and back

Decoding reads the stored integer tables and never evaluates the density.
"""

import copy
import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..coding.channel_tables import ALL_CHANNELS, REACH, ChannelSelection, ChannelTables
from ..coding.factorized import GAIN_LEVELS_PER_OCTAVE
from ..coding.gaussian_tables import quantise_probabilities
from ..coding.range_coder import Ints, SymbolDecoder, SymbolEncoder
from .integers import Integers, stored
from .relaxation import position_bits
from .running_statistics import RunningStatistics

_WIDTHS = (1, 3, 3, 3, 1)
_INITIAL_SCALE = 1.0


class Density(nn.Module):
    """Cumulative distribution of each of C channels, as logits: a small monotone network with positive weights."""

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
        """Values (C, n) to logits (C, n) of the distribution function at them."""
        y = x[:, None]
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            y = torch.baddbmm(bias, F.softplus(matrix), y)
            if k < len(self.factors):
                y = y + self.factors[k].tanh() * y.tanh()
        return y[:, 0]

    def likelihood(self, x: Tensor, width: Tensor | float) -> Tensor:
        """Probability of the interval of `width` around each of the values x (C, n)."""
        lower, upper = self(x - width / 2), self(x + width / 2)
        sign = -torch.sign((lower + upper).detach())  # the tail where sigmoids do not cancel
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()


class FactorizedPrior(nn.Module):
    """Rate of latents (B, C, h, w) under a density for each channel, and their coding with integer tables.

    There is a table for each channel and gain level. At gain level k the quantiser step is 2^(-k / 8); levels go from
    -gain_levels to gain_levels. The tables are a buffer. They are computed anew from the densities when training has
    changed these and the state or the coder needs them; a loaded checkpoint keeps the tables it came with.

    Args:
        channels: C.
        gain_levels: gain levels on either side of a step of 1.
    """

    tables: Tensor

    def __init__(self, channels: int, gain_levels: int = 0):
        super().__init__()
        self.gain_levels = gain_levels
        self.typical = RunningStatistics(channels)
        self.density = Density(channels)  # of values normalised by the running statistics
        self.register_buffer("tables", torch.zeros(channels, 2 * gain_levels + 1, 2 * REACH + 2, dtype=torch.int32))
        self._stale = True
        self.register_state_dict_pre_hook(FactorizedPrior._before_state_dict)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(FactorizedPrior._after_load)  # type: ignore[no-untyped-call]

    def bits(self, y: Tensor, step: Tensor | None = None) -> Tensor:
        """Estimated bits at each position.

        Args:
            y: (B, C, h, w) latents, noisy in training and quantised otherwise.
            step: (B, C, 1, 1) quantiser steps; 1 by default.

        Returns:
            (B, h, w), all channels together.
        """
        if self.training:
            self._stale = True
            self.typical.update(y)
        by_channel = self.typical.normalise(y).transpose(0, 1)
        width = self.typical.inverse_scale[:, None, None] * (1.0 if step is None else step)
        likelihood = self.density.likelihood(by_channel.flatten(1), width.expand(y.shape).transpose(0, 1).flatten(1))
        return position_bits(likelihood.view(by_channel.shape).transpose(0, 1))

    @property
    def coder(self) -> ChannelTables:
        """The tables in use."""
        return ChannelTables(self.integers()["prior"].astype(np.int32))

    def integers(self) -> Integers:
        """The tables for components.coding."""
        self._refresh_tables()
        return {"prior": stored(self.tables)}

    def encode(self, encoder: SymbolEncoder, symbols: Ints, channels: ChannelSelection = ALL_CHANNELS) -> None:
        """Code integers (C, n), channel by channel, with the tables of level 0."""
        self.coder.encode(encoder, symbols, channels=channels)

    def decode(self, decoder: SymbolDecoder, count: int, channels: ChannelSelection = ALL_CHANNELS) -> Ints:
        """Inverse of `encode`: symbols (C, count), zero in channels that were not coded. Raises BitstreamError."""
        return self.coder.decode(decoder, count, channels=channels)

    @torch.no_grad()
    def _refresh_tables(self) -> None:
        if not self._stale:
            return
        density = copy.deepcopy(self.density).double()
        values = torch.arange(-REACH, REACH + 1, device=self.tables.device, dtype=torch.float64)
        mean, inverse = (part.double()[:, None] for part in (self.typical.mean, self.typical.inverse_scale))
        for level in range(-self.gain_levels, self.gain_levels + 1):
            step = 2 ** (-level / GAIN_LEVELS_PER_OCTAVE)
            mass = density.likelihood((values * step - mean) * inverse, step * inverse).cpu().numpy()
            rows = np.stack([quantise_probabilities(row) for row in mass])
            self.tables[:, level + self.gain_levels] = torch.from_numpy(rows)
        self._stale = False

    @staticmethod
    def _before_state_dict(module: "FactorizedPrior", prefix: str, keep_vars: bool) -> None:  # noqa: ARG004
        module._refresh_tables()

    @staticmethod
    def _after_load(module: "FactorizedPrior", incompatible: Any) -> None:  # noqa: ARG004
        module._stale = False
