"""Huffman codes for bytes, read in lanes: many places of one string of bits at once.

Code lengths come from constriction's Huffman tree; codes are canonical, so that lengths are all a decoder needs.
"""

import struct
import zlib

import constriction
import numpy as np
from numpy.typing import NDArray

from components.errors import BitstreamError

Bytes = NDArray[np.uint8]
_LONGEST = 15
_SYMBOLS_PER_LANE = 2048
_HEAD = struct.Struct("<HI")  # bytes of the deflated lengths, bits of the codes


def encode(values: Bytes) -> bytes:
    """Code lengths, where each lane starts, and the codes of (n,) bytes, n > 0."""
    lengths = _lengths(np.bincount(values, minlength=256))
    codes = _codes(lengths)
    sizes = lengths[values]
    ends = sizes.cumsum(dtype=np.int64)
    bits = np.zeros(ends[-1], dtype=np.uint8)
    chosen = codes[values]
    for place in range(1, lengths.max() + 1):  # from the end of each code
        (coded,) = np.nonzero(sizes >= place)
        bits[ends[coded] - place] = chosen[coded] >> (place - 1) & 1
    described = zlib.compress(lengths.astype(np.uint8).tobytes(), 9)
    lane_bits = np.diff(ends[_lane_ends(len(values))], prepend=0).astype("<u2")
    return _HEAD.pack(len(described), len(bits)) + described + lane_bits.tobytes() + np.packbits(bits).tobytes()


def decode(data: bytes, count: int) -> Bytes:
    """The `count` bytes that were coded. Raises BitstreamError."""
    if len(data) < _HEAD.size:
        raise BitstreamError("corrupted bitstream: it ends in the head of a Huffman code")
    described, bits = _HEAD.unpack_from(data)
    ends = _lane_ends(count)
    lanes_at = _HEAD.size + described
    codes_at = lanes_at + 2 * len(ends)
    if len(data) != codes_at + -(-bits // 8):
        raise BitstreamError("corrupted bitstream: Huffman codes are not as long as their head says")
    lengths = _described(data[_HEAD.size : lanes_at])
    symbol_of, length_of = _lookup(lengths)
    lane_ends = np.frombuffer(data, "<u2", len(ends), lanes_at).cumsum(dtype=np.int64)
    if lane_ends[-1] != bits:
        raise BitstreamError("corrupted bitstream: the lanes of a Huffman code do not fill it")
    read = np.frombuffer(data + bytes(4), np.uint8, offset=codes_at).astype(np.uint32)
    windows = read[:-2] << 16 | read[1:-1] << 8 | read[2:]  # the 24 bits from each byte on
    at = np.concatenate(([0], lane_ends[:-1]))
    values = np.zeros((len(ends), _SYMBOLS_PER_LANE), dtype=np.uint8)
    sizes = np.diff(ends + 1, prepend=0)
    reading = at
    for column in range(sizes.max()):
        if column == sizes[-1]:
            reading = at[:-1]  # the last lane may be shorter
        window = windows.take(reading >> 3, mode="clip") >> (24 - _LONGEST - (reading & 7)).astype(np.uint32)
        code = window & np.uint32((1 << _LONGEST) - 1)
        values[: len(reading), column] = symbol_of[code]
        reading += length_of[code]
    if not np.array_equal(at, lane_ends):
        raise BitstreamError("corrupted bitstream: Huffman codes do not end where they should")
    return values.ravel()[:count]


def _lane_ends(count: int) -> NDArray[np.int64]:
    """The last symbol of each lane."""
    return np.append(np.arange(_SYMBOLS_PER_LANE, count, _SYMBOLS_PER_LANE), count) - 1


def _lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(256,) code lengths, zero where the count is, none above _LONGEST."""
    (used,) = np.nonzero(counts)
    lengths = np.zeros(256, dtype=np.int64)
    weights = counts[used]
    while True:
        lengths[used] = _depths(weights)
        if lengths.max() <= _LONGEST:
            return lengths
        weights = (weights + 1) // 2  # flatter, hence a lower tree


def _depths(weights: NDArray[np.int64]) -> list[int]:
    if len(weights) == 1:
        return [1]
    tree = constriction.symbol.huffman.EncoderHuffmanTree(weights.astype(np.float64))
    depths = []
    for symbol in range(len(weights)):
        coder = constriction.symbol.QueueEncoder()
        coder.encode_symbol(symbol, tree)
        depths.append(coder.get_compressed()[1])
    return depths


def _canonical(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that have codes, by length, then by value; and their shares of all codes of _LONGEST bits."""
    order = np.lexsort((np.arange(256), lengths))
    order = order[lengths[order] > 0]
    return order, 1 << (_LONGEST - lengths[order])


def _codes(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(256,) canonical codes: each begins where those before it end."""
    order, shares = _canonical(lengths)
    codes = np.zeros(256, dtype=np.int64)
    codes[order] = (shares.cumsum() - shares) >> (_LONGEST - lengths[order])
    return codes


def _lookup(lengths: NDArray[np.int64]) -> tuple[Bytes, NDArray[np.int64]]:
    """The symbol and the length of the code that any _LONGEST bits begin with. Raises BitstreamError."""
    order, shares = _canonical(lengths)
    if not 0 < shares.sum() <= 1 << _LONGEST:
        raise BitstreamError("corrupted bitstream: lengths that no Huffman code has")
    symbols = np.repeat(order, shares)
    symbols = np.append(symbols, np.full((1 << _LONGEST) - len(symbols), symbols[-1]))
    return symbols.astype(np.uint8), lengths[symbols]


def _described(deflated: bytes) -> NDArray[np.int64]:
    try:
        inflated = zlib.decompressobj().decompress(deflated, 257)
    except zlib.error as error:
        raise BitstreamError("corrupted bitstream: the lengths of a Huffman code cannot be inflated") from error
    lengths = np.frombuffer(inflated, np.uint8).astype(np.int64)
    if len(lengths) != 256 or lengths.max() > _LONGEST:
        raise BitstreamError("corrupted bitstream: lengths that no Huffman code has")
    return lengths
