import numpy as np
import pytest

from components.coding.channel_flags import decode_flags, encode_flags
from components.coding.range_coder import SymbolDecoder, SymbolEncoder


@pytest.mark.parametrize("number", [0, 1, 20, 95, 96])
def test_flags_come_back_at_about_their_entropy(number: int) -> None:
    random = np.random.default_rng(number)
    flags = random.permutation(np.arange(96) < number)
    encoder = SymbolEncoder()
    encode_flags(encoder, flags)
    data = encoder.finish()
    assert np.array_equal(decode_flags(SymbolDecoder(data), 96), flags)
    p = number / 96
    entropy = 0 if p in (0, 1) else -96 * (p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert 8 * len(data) <= 1.02 * entropy + 7 + 33


def test_one_flag() -> None:
    for flag in (False, True):
        encoder = SymbolEncoder()
        encode_flags(encoder, np.array([flag]))
        assert decode_flags(SymbolDecoder(encoder.finish()), 1).tolist() == [flag]
