"""Coders of trits: one writes a stream, one reads any prefix of it, one counts bits.

The model goes through the planes once, whatever it does with the trits; a coder supplies them.
"""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...coding.escapes import ESCAPED_BITS, decode_escaped, encode_escaped
from ...coding.range_coder import TOTAL, EndOfPrefixError, Ints, PrefixDecoder, SymbolEncoder
from .trit_state import TritState
from .trit_tables import Intervals, next_trits

_MOST_OUTLIERS = 1 << 24


class TritCoder(Protocol):
    """Supplies the trits of elements, and writes, reads or counts them on the way."""

    def __call__(self, places: Tensor, intervals: Intervals, frequencies: Tensor) -> Tensor:
        """The next trits of some elements.

        Args:
            places: (n,) flat indices of the elements.
            intervals: that hold their values (n,).
            frequencies: (n, 3) of the trits, with sum TOTAL.

        Returns:
            (n,) trits; fewer where a prefix ends.
        """

    def outliers(self, state: TritState, plane: int) -> bool:
        """After a plane, reveal values far outside their Gaussians. False where a prefix ends within them."""


class TritEncoder:
    """Codes the trits of given values to a range encoder."""

    def __init__(self, encoder: SymbolEncoder, values: Tensor):
        self.encoder, self.values = encoder, values.flatten()

    def outliers(self, state: TritState, plane: int) -> bool:
        """See TritCoder. Codes a flag, then how many there are, their channels, positions and raw values."""
        places = state.outliers(self.values, plane)
        positions = state.shape[2:].numel()
        self.encoder.encode_uniform(np.array([len(places) > 0], dtype=np.int32), 2)
        if len(places):
            self.encoder.encode_uniform(np.array([len(places)], dtype=np.int32), _MOST_OUTLIERS)
            self.encoder.encode_uniform(_ints(places // positions), max(2, state.shape[1]))
            self.encoder.encode_uniform(_ints(places % positions), max(2, positions))
            encode_escaped(self.encoder, _ints(self.values[places]))
            state.reveal(places, self.values[places])
        return True

    def __call__(self, places: Tensor, intervals: Intervals, frequencies: Tensor) -> Tensor:
        """See TritCoder."""
        trits = next_trits(self.values[places], intervals)
        self.encoder.encode_each(_ints(trits), frequencies.cpu().numpy())
        return trits


class TritDecoder:
    """Reads trits from a prefix of a stream, until it ends."""

    def __init__(self, decoder: PrefixDecoder):
        self.decoder = decoder

    def outliers(self, state: TritState, plane: int) -> bool:  # noqa: ARG002
        """See TritCoder."""
        positions = state.shape[2:].numel()
        try:
            if self.decoder.decode_uniform(1, 2)[0]:
                number = int(self.decoder.decode_uniform(1, _MOST_OUTLIERS)[0])
                channels = self.decoder.decode_uniform(number, max(2, state.shape[1])).astype(np.int64)
                places = channels * positions + self.decoder.decode_uniform(number, max(2, positions))
                values = decode_escaped(self.decoder, number)
                state.reveal(*(torch.from_numpy(part).to(state.priorities) for part in (places, values)))
        except EndOfPrefixError:
            return False
        return True

    def __call__(self, places: Tensor, intervals: Intervals, frequencies: Tensor) -> Tensor:  # noqa: ARG002
        """See TritCoder."""
        try:
            trits = self.decoder.decode_each(frequencies.cpu().numpy())
        except EndOfPrefixError as end:
            trits = end.decoded
        return torch.from_numpy(trits).to(places)


class TritBitCounter:
    """Sums the bits of the trits of given values (B, C, h, w) at each position: `bits` (B, h, w)."""

    def __init__(self, values: Tensor):
        self.shape, self.values = values.shape, values.flatten()
        self.bits = torch.zeros(values[:, 0].shape, device=values.device)

    def outliers(self, state: TritState, plane: int) -> bool:
        """See TritCoder."""
        places = state.outliers(self.values, plane)
        bits = torch.full((len(places),), ESCAPED_BITS + math.log2(self.shape[1:].numel()), device=places.device)
        self.bits = add_bits_at(self.bits, self.shape, places, bits)
        state.reveal(places, self.values[places])
        return True

    def __call__(self, places: Tensor, intervals: Intervals, frequencies: Tensor) -> Tensor:
        """See TritCoder."""
        trits = next_trits(self.values[places], intervals)
        bits = math.log2(TOTAL) - frequencies.gather(1, trits[:, None])[:, 0].log2()
        self.bits = add_bits_at(self.bits, self.shape, places, bits)
        return trits


def add_bits_at(total: Tensor, shape: torch.Size, places: Tensor, bits: Tensor) -> Tensor:
    """Add bits of elements to the bits of their positions.

    Args:
        total: (B, h, w) bits so far.
        shape: (B, C, h, w) of the elements.
        places: (n,) flat indices of elements.
        bits: (n,) bits of these.

    Returns:
        (B, h, w), a new tensor.
    """
    image, plane = shape[1:].numel(), shape[2:].numel()
    return total.flatten().index_add(0, places // image * plane + places % plane, bits).view(total.shape)


def _ints(part: Tensor) -> Ints:
    values: Ints = part.int().cpu().numpy()
    return values
