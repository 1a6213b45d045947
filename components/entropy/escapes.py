"""Values outside a table: an escape symbol in its place, then the value itself."""

import numpy as np

from components.entropy.range_coder import Ints, SymbolDecoder, SymbolEncoder

BITS = 21
_RANGE = 1 << (BITS - 1)


def put_values(encoder: SymbolEncoder, values: Ints, table: Ints) -> None:
    """Code (n,) integers with a table whose entries stand for -half to half, and the last for the escape."""
    half = len(table) // 2 - 1
    escaped = np.abs(values) > half
    encoder.put(np.where(escaped, 2 * half + 1, values + half), table)
    put_escaped(encoder, values[escaped])


def take_values(decoder: SymbolDecoder, count: int, table: Ints) -> Ints:
    """The inverse of `put_values`. Raises BitstreamError."""
    half = len(table) // 2 - 1
    values = decoder.take(count, table) - half
    escaped = values > half
    values[escaped] = take_escaped(decoder, int(escaped.sum()))
    return values


def put_escaped(encoder: SymbolEncoder, values: Ints) -> None:
    """Code integers in BITS bits each. Raises ValueError beyond 2^20, where no trained codec gets."""
    if len(values):
        rest = values + _RANGE
        if rest.min() < 0 or rest.max() >= 2 * _RANGE:
            raise ValueError(f"a value of the code lies beyond {_RANGE} quantiser steps")
        encoder.put_uniform(rest, 2 * _RANGE)


def take_escaped(decoder: SymbolDecoder, count: int) -> Ints:
    """The inverse of `put_escaped`."""
    if not count:
        return np.empty(0, dtype=np.int32)
    return decoder.take_uniform(count, 2 * _RANGE) - _RANGE
