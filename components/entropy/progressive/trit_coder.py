"""What is known of latents on their way through trit planes, and where their trits come from, or go to."""

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from components.entropy.escapes import ESCAPED_BITS, decode_escaped, encode_escaped
from components.entropy.progressive.trit_tables import (
    LOWEST_PRIORITY,
    PRIORITY_PER_PLANE,
    Gaussians,
    Intervals,
    TritTables,
    next_trits,
    split,
)
from components.entropy.range_coder import TOTAL, EndOfPrefixError, Ints, PrefixDecoder, SymbolEncoder

STAGES_PER_PLANE = 2
"""Stages of a plane, by rank."""

_MOST_OUTLIERS = 1 << 24


class TritState:
    """What is known of elements (n,), and the ranks of their next trits: these change with each trit alone."""

    def __init__(self, tables: TritTables, prior: Gaussians):
        self.tables, self.shape = tables, prior.units.shape
        self.prior = Gaussians(*flat(prior))
        self.known = tables.start(self.prior)
        self.priorities = tables.priorities(self.prior, self.known)

    def copy(self) -> Intervals:
        """What is known now, whatever is told later."""
        return Intervals(*(part.clone() for part in self.known))

    def places_in_stage(self, stage: int) -> Tensor:
        """The places of elements whose next trit ranks with a stage or before it; stage 0 is the last."""
        return (self.priorities >= LOWEST_PRIORITY + stage * PRIORITY_PER_PLANE // STAGES_PER_PLANE).nonzero()[:, 0]

    def at(self, places: Tensor) -> Intervals:
        """What is known there."""
        return Intervals(*at(self.known, places))

    def refine(self, places: Tensor, trits: Tensor) -> None:
        """Take the next trits in."""
        here = split(self.at(places), trits)
        self.known.middle[places], self.known.planes[places] = here
        self.priorities[places] = self.tables.priorities(Gaussians(*at(self.prior, places)), here)

    def outliers(self, values: Tensor, plane: int) -> Tensor:
        """The places of values (n,) that trits do not reach, and that are worth their bits in a plane."""
        return (self.tables.is_outlier(self.prior, values, plane) & (self.known.planes > 0)).nonzero()[:, 0]

    def reveal(self, places: Tensor, values: Tensor) -> None:
        """Take whole values in."""
        self.known.middle[places], self.known.planes[places] = values, 0
        self.priorities[places] = self.tables.priorities(Gaussians(*at(self.prior, places)), self.at(places))

    def shaped(self) -> Intervals:
        """What is known, in the shape of the latents."""
        return Intervals(*(part.view(self.shape) for part in self.known))


class TritCoder(Protocol):
    """Where trits come from, or go to."""

    def __call__(self, places: Tensor, known: Intervals, frequencies: Tensor) -> Tensor:
        """The next trits of elements at places (n,); fewer where a prefix ends."""

    def outliers(self, state: TritState, plane: int) -> bool:
        """Reveal what lies far outside of its Gaussian, after a plane; False where a prefix ends in the middle."""


class TritEncoder:
    """Trits of given values, coded."""

    def __init__(self, encoder: SymbolEncoder, values: Tensor):
        self.encoder, self.values = encoder, values.flatten()

    def outliers(self, state: TritState, plane: int) -> bool:
        """See Trits."""
        places = state.outliers(self.values, plane)
        each = state.shape[2:].numel()
        self.encoder.encode_uniform(np.array([len(places) > 0], dtype=np.int32), 2)
        if len(places):
            self.encoder.encode_uniform(np.array([len(places)], dtype=np.int32), _MOST_OUTLIERS)
            self.encoder.encode_uniform(_ints(places // each), max(2, state.shape[1]))
            self.encoder.encode_uniform(_ints(places % each), max(2, each))
            encode_escaped(self.encoder, _ints(self.values[places]))
            state.reveal(places, self.values[places])
        return True

    def __call__(self, places: Tensor, known: Intervals, frequencies: Tensor) -> Tensor:
        """See Trits."""
        trits = next_trits(self.values[places], known)
        self.encoder.encode_each(_ints(trits), frequencies.cpu().numpy())
        return trits


class TritDecoder:
    """Trits out of a prefix, until it ends."""

    def __init__(self, decoder: PrefixDecoder):
        self.decoder = decoder

    def outliers(self, state: TritState, plane: int) -> bool:  # noqa: ARG002
        """See Trits."""
        each = state.shape[2:].numel()
        try:
            if self.decoder.decode_uniform(1, 2)[0]:
                number = int(self.decoder.decode_uniform(1, _MOST_OUTLIERS)[0])
                channels = self.decoder.decode_uniform(number, max(2, state.shape[1])).astype(np.int64)
                places = channels * each + self.decoder.decode_uniform(number, max(2, each))
                values = decode_escaped(self.decoder, number)
                state.reveal(*(torch.from_numpy(part).to(state.priorities) for part in (places, values)))
        except EndOfPrefixError:
            return False
        return True

    def __call__(self, places: Tensor, known: Intervals, frequencies: Tensor) -> Tensor:  # noqa: ARG002
        """See Trits."""
        try:
            trits = self.decoder.decode_each(frequencies.cpu().numpy())
        except EndOfPrefixError as end:
            trits = end.decoded
        return torch.from_numpy(trits).to(places)


class TritBitCounter:
    """Trits of given values (B, C, h, w), and their bits at each position (B, h, w)."""

    def __init__(self, values: Tensor):
        self.shape, self.values = values.shape, values.flatten()
        self.bits = torch.zeros(values[:, 0].shape, device=values.device)

    def outliers(self, state: TritState, plane: int) -> bool:
        """See Trits."""
        places = state.outliers(self.values, plane)
        bits = torch.full((len(places),), ESCAPED_BITS + math.log2(self.shape[1:].numel()), device=places.device)
        self.bits = add_bits_at(self.bits, self.shape, places, bits)
        state.reveal(places, self.values[places])
        return True

    def __call__(self, places: Tensor, known: Intervals, frequencies: Tensor) -> Tensor:
        """See Trits."""
        trits = next_trits(self.values[places], known)
        bits = math.log2(TOTAL) - frequencies.gather(1, trits[:, None])[:, 0].log2()
        self.bits = add_bits_at(self.bits, self.shape, places, bits)
        return trits


def add_bits_at(total: Tensor, shape: torch.Size, places: Tensor, bits: Tensor) -> Tensor:
    """`total` (B, h, w), and the bits (n,) of flat places of values (B, C, h, w) where these lie."""
    each, plane = shape[1:].numel(), shape[2:].numel()
    return total.flatten().index_add(0, places // each * plane + places % plane, bits).view(total.shape)


def _ints(part: Tensor) -> Ints:
    values: Ints = part.int().cpu().numpy()
    return values


def flat(parts: Iterable[Tensor]) -> Iterable[Tensor]:
    """Tensors as (n,)."""
    return (part.flatten() for part in parts)


def at(parts: Iterable[Tensor], places: Tensor) -> Iterable[Tensor]:
    """The same places of tensors."""
    return (part[places] for part in parts)
