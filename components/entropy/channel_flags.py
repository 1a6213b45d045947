"""Flags: one bit for each channel, and less where most are alike."""

import numpy as np
from numpy.typing import NDArray

from components.entropy.range_coder import TOTAL, Ints, SymbolDecoder, SymbolEncoder

Flags = NDArray[np.bool_]


def encode_flags(encoder: SymbolEncoder, flags: Flags) -> Flags:
    """Code how many of (n,) flags are set, then each as probable as that makes it; the flags again."""
    number = int(flags.sum())
    encoder.encode_uniform(np.array([number], dtype=np.int32), len(flags) + 1)
    encoder.encode(flags.astype(np.int32), _table(number, len(flags)))
    return flags


def decode_flags(decoder: SymbolDecoder, count: int) -> Flags:
    """The inverse of `encode_flags`. Raises BitstreamError."""
    number = int(decoder.decode_uniform(1, count + 1)[0])
    return decoder.decode(count, _table(number, count)).astype(bool)


def _table(number: int, count: int) -> Ints:
    set_ = min(TOTAL - 1, max(1, TOTAL * number // count))
    return np.array([TOTAL - set_, set_], dtype=np.int32)
