"""Values outside a table: an escape symbol in its place, then the value itself."""

import numpy as np

from components.entropy.range_coder import Ints, SymbolDecoder, SymbolEncoder

ESCAPED_BITS = 21
_RANGE = 1 << (ESCAPED_BITS - 1)


def encode_values(encoder: SymbolEncoder, values: Ints, table: Ints) -> None:
    """Code (n,) integers with a table whose entries stand for -half to half, and the last for the escape."""
    half = len(table) // 2 - 1
    escaped = np.abs(values) > half
    encoder.encode(np.where(escaped, 2 * half + 1, values + half), table)
    encode_escaped(encoder, values[escaped])


def decode_values(decoder: SymbolDecoder, count: int, table: Ints) -> Ints:
    """The inverse of `encode_values`. Raises BitstreamError."""
    half = len(table) // 2 - 1
    values = decoder.decode(count, table) - half
    escaped = values > half
    values[escaped] = decode_escaped(decoder, int(escaped.sum()))
    return values


def encode_escaped(encoder: SymbolEncoder, values: Ints) -> None:
    """Code integers in ESCAPED_BITS bits each. Raises ValueError beyond 2^20, where no trained codec gets."""
    if len(values):
        rest = values + _RANGE
        if rest.min() < 0 or rest.max() >= 2 * _RANGE:
            raise ValueError(f"a value of the code lies beyond {_RANGE} quantiser steps")
        encoder.encode_uniform(rest, 2 * _RANGE)


def decode_escaped(decoder: SymbolDecoder, count: int) -> Ints:
    """The inverse of `encode_escaped`."""
    if not count:
        return np.empty(0, dtype=np.int32)
    return decoder.decode_uniform(count, 2 * _RANGE) - _RANGE
