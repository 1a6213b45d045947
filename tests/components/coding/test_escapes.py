import numpy as np
import pytest

from components.coding.escapes import ESCAPED_BITS, decode_values, encode_values
from components.coding.range_coder import TOTAL, SymbolDecoder, SymbolEncoder

TABLE = np.array([1, 9, TOTAL - 21, 9, 1, 1], dtype=np.int32)
"""Of the values -2 to 2 and the escape."""


def coded(values: list[int]) -> bytes:
    encoder = SymbolEncoder()
    encode_values(encoder, np.array(values, dtype=np.int32), TABLE)
    return encoder.finish()


@pytest.mark.parametrize("values", [[], [0, -2, 2], [3, 0, -3, 1 << 19, -(1 << 20), (1 << 20) - 1]])
def test_values_inside_and_outside_the_table_come_back(values: list[int]) -> None:
    assert decode_values(SymbolDecoder(coded(values)), len(values), TABLE).tolist() == values


def test_an_escape_costs_its_symbol_and_its_raw_bits() -> None:
    inside, outside = (8 * len(coded([value] * 1000)) / 1000 for value in (2, 3))
    assert inside == pytest.approx(16, rel=0.01)
    assert outside == pytest.approx(16 + ESCAPED_BITS, rel=0.01)


@pytest.mark.parametrize("value", [1 << 20, -(1 << 20) - 1])
def test_values_beyond_the_raw_bits_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="lies beyond 1048576 quantiser steps"):
        coded([value])
