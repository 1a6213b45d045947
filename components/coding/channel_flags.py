"""Flags of the channels that are not all zero, coded with an adaptive binary model: at most one bit a channel."""

import numpy as np
from numpy.typing import NDArray

from .range_coder import TOTAL, Ints, SymbolDecoder, SymbolEncoder

Flags = NDArray[np.bool_]


def encode_flags(encoder: SymbolEncoder, flags: Flags) -> Flags:
    """Code how many of (n,) flags are set, then each flag with that share as its probability. Returns the flags."""
    number = int(flags.sum())
    encoder.encode_uniform(np.array([number], dtype=np.int32), len(flags) + 1)
    encoder.encode(flags.astype(np.int32), _table(number, len(flags)))
    return flags


def decode_flags(decoder: SymbolDecoder, count: int) -> Flags:
    """Inverse of `encode_flags` for (count,) flags. Raises BitstreamError."""
    number = int(decoder.decode_uniform(1, count + 1)[0])
    return decoder.decode(count, _table(number, count)).astype(bool)


def _table(number: int, count: int) -> Ints:
    """Frequencies of an unset and of a set flag, from how many of `count` are set."""
    frequency_of_set = min(TOTAL - 1, max(1, TOTAL * number // count))
    return np.array([TOTAL - frequency_of_set, frequency_of_set], dtype=np.int32)
