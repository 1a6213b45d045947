"""Escape coding: values outside the support of a frequency table are coded as an escape symbol and raw bits."""

import numpy as np

from .range_coder import Ints, SymbolDecoder, SymbolEncoder

ESCAPED_BITS = 21
"""Raw bits of an escaped value, which lies within +-2^20."""
_RANGE = 1 << (ESCAPED_BITS - 1)


def encode_values(encoder: SymbolEncoder, values: Ints, table: Ints) -> None:
    """Code integers with one table, and those that it does not hold as escapes, whose raw bits follow together.

    Args:
        encoder: takes the symbols.
        values: (n,) integers.
        table: (2 * half + 2,) frequencies of the values -half to half, then of the escape.

    Raises:
        ValueError: a value lies beyond 2^20, which no trained codec reaches.
    """
    half = len(table) // 2 - 1
    escaped = np.abs(values) > half
    encoder.encode(np.where(escaped, 2 * half + 1, values + half), table)
    encode_escaped(encoder, values[escaped])


def decode_values(decoder: SymbolDecoder, count: int, table: Ints) -> Ints:
    """Inverse of `encode_values`: the next `count` integers. Raises BitstreamError."""
    half = len(table) // 2 - 1
    values = decoder.decode(count, table) - half
    escaped = values > half
    values[escaped] = decode_escaped(decoder, int(escaped.sum()))
    return values


def encode_escaped(encoder: SymbolEncoder, values: Ints) -> None:
    """Code (n,) integers in ESCAPED_BITS raw bits each. Raises ValueError for values beyond 2^20."""
    if len(values):
        unsigned = values + _RANGE
        if unsigned.min() < 0 or unsigned.max() >= 2 * _RANGE:
            raise ValueError(f"a value of the code lies beyond {_RANGE} quantiser steps")
        encoder.encode_uniform(unsigned, 2 * _RANGE)


def decode_escaped(decoder: SymbolDecoder, count: int) -> Ints:
    """Inverse of `encode_escaped`. Raises BitstreamError."""
    if not count:
        return np.empty(0, dtype=np.int32)
    return decoder.decode_uniform(count, 2 * _RANGE) - _RANGE
