import zlib

import numpy as np
import pytest

from components.entropy.pixels import huffman
from components.errors import BitstreamError


def laplace(count: int) -> np.ndarray:
    return (np.random.default_rng(0).laplace(0, 5, count).round().astype(int) & 255).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 2, 2047, 2048, 2049, 30_000])
def test_symbols_come_back(count: int) -> None:
    values = laplace(count)
    assert np.array_equal(huffman.decode(huffman.encode(values), count), values)


def test_one_value_alone_and_equal_frequencies() -> None:
    for values in (np.full(5000, 9, np.uint8), np.tile(np.arange(256, dtype=np.uint8), 40)):
        assert np.array_equal(huffman.decode(huffman.encode(values), len(values)), values)


def test_the_rate_is_that_of_a_huffman_code() -> None:
    values = laplace(200_000)
    share = np.bincount(values)[np.unique(values)] / len(values)
    entropy = -(share * np.log2(share)).sum()
    bits = 8 * len(huffman.encode(values)) / len(values)
    assert entropy < bits < entropy + 0.06, "Huffman's own loss, the lengths, and the lanes"


def test_deep_trees_are_made_lower() -> None:
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    values = np.repeat(np.arange(24, dtype=np.uint8), counts)
    np.random.default_rng(0).shuffle(values)
    data = huffman.encode(values)
    assert np.array_equal(huffman.decode(data, len(values)), values)
    share = np.array(counts) / sum(counts)
    assert 8 * len(data) / len(values) < 1.06 * -(share * np.log2(share)).sum()


def test_bytes_that_no_encoder_wrote_are_refused() -> None:
    values = laplace(5000)
    data = huffman.encode(values)
    for bad in (b"", data[:5], data[:40], data[:-1], data + b"a"):
        with pytest.raises(BitstreamError, match="corrupted bitstream"):
            huffman.decode(bad, len(values))
    with pytest.raises(BitstreamError):
        huffman.decode(data, len(values) + 1)
    for lengths in (bytes(256), bytes((1,)) * 256, bytes((40,)) * 256, bytes(9)):
        described = zlib.compress(lengths)
        head = len(described).to_bytes(2, "little") + data[2:6]
        rest = data[6 + int.from_bytes(data[:2], "little") :]
        with pytest.raises(BitstreamError, match="no Huffman code has"):
            huffman.decode(head + described + rest, len(values))
    refused = 0
    flips = range(0, len(data), 50)
    for at in flips:
        flipped = bytearray(data)
        flipped[at] ^= 4
        try:
            refused += not np.array_equal(huffman.decode(bytes(flipped), len(values)), values)
        except BitstreamError:
            refused += 1
    assert refused > 0.9 * len(flips), "a changed bit is another picture or none, never a crash"
