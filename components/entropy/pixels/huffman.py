"""Canonical Huffman code of bytes, decoded in lanes: several places of one bit string are read at once.

Code lengths come from constriction's Huffman tree. Codes are canonical, so a decoder needs their lengths alone.

    head (length of the deflated code lengths, bits of all codes) | deflated code lengths | bits of each lane | codes

A lane holds 2048 symbols. Its length says where the next lane begins, so that all can be decoded side by side.
"""

import struct
import zlib

import constriction
import numpy as np
from numpy.typing import NDArray

from ...errors import BitstreamError

Bytes = NDArray[np.uint8]
_LONGEST = 15
_SYMBOLS_PER_LANE = 2048
_HEAD = struct.Struct("<HI")


def encode(values: Bytes) -> bytes:
    """Code (n,) bytes, n > 0, with a Huffman code made for them."""
    lengths = _lengths(np.bincount(values, minlength=256))
    codes = _codes(lengths)
    sizes = lengths[values]
    ends = sizes.cumsum(dtype=np.int64)
    bits = np.zeros(ends[-1], dtype=np.uint8)
    chosen = codes[values]
    for place in range(1, lengths.max() + 1):  # from the end of each code
        (coded,) = np.nonzero(sizes >= place)
        bits[ends[coded] - place] = chosen[coded] >> (place - 1) & 1
    deflated = zlib.compress(lengths.astype(np.uint8).tobytes(), 9)
    lane_bits = np.diff(ends[_last_symbols(len(values))], prepend=0).astype("<u2")
    return _HEAD.pack(len(deflated), len(bits)) + deflated + lane_bits.tobytes() + np.packbits(bits).tobytes()


def decode(data: bytes, count: int) -> Bytes:
    """Inverse of `encode` for `count` bytes. Raises BitstreamError."""
    if len(data) < _HEAD.size:
        raise BitstreamError("corrupted bitstream: it ends in the head of a Huffman code")
    deflated, bits = _HEAD.unpack_from(data)
    last_symbols = _last_symbols(count)
    lanes_at = _HEAD.size + deflated
    codes_at = lanes_at + 2 * len(last_symbols)
    if len(data) != codes_at + -(-bits // 8):
        raise BitstreamError("corrupted bitstream: Huffman codes are not as long as their head says")
    lengths = _inflate_lengths(data[_HEAD.size : lanes_at])
    lane_ends = np.frombuffer(data, "<u2", len(last_symbols), lanes_at).cumsum(dtype=np.int64)
    if lane_ends[-1] != bits:
        raise BitstreamError("corrupted bitstream: the lanes of a Huffman code do not fill it")
    coded = np.frombuffer(data + bytes(4), np.uint8, offset=codes_at)
    return _decode_lanes(coded, lane_ends, np.diff(last_symbols + 1, prepend=0), lengths).ravel()[:count]


def _decode_lanes(
    coded: Bytes, lane_ends: NDArray[np.int64], symbols: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Bytes:
    """Decode the next symbol of every lane at once, until all lanes are at their ends.

    Args:
        coded: bytes of the codes, and four more.
        lane_ends: (lanes,) first bit after each lane.
        symbols: (lanes,) symbols of each lane; the last lane may have fewer.
        lengths: (256,) code lengths.

    Returns:
        (lanes, _SYMBOLS_PER_LANE) bytes, zero after the last symbol of a lane.
    """
    symbol_of, length_of = _lookup(lengths)
    read = coded.astype(np.uint32)
    windows = read[:-2] << 16 | read[1:-1] << 8 | read[2:]  # the 24 bits from each byte on
    at = np.concatenate(([0], lane_ends[:-1]))
    values = np.zeros((len(lane_ends), _SYMBOLS_PER_LANE), dtype=np.uint8)
    active = at  # a view, which moves on in place
    for column in range(symbols.max()):
        if column == symbols[-1]:
            active = at[:-1]  # the last lane is at its end
        window = windows.take(active >> 3, mode="clip") >> (24 - _LONGEST - (active & 7)).astype(np.uint32)
        code = window & np.uint32((1 << _LONGEST) - 1)
        values[: len(active), column] = symbol_of[code]
        active += length_of[code]
    if not np.array_equal(at, lane_ends):
        raise BitstreamError("corrupted bitstream: Huffman codes do not end where they should")
    return values


def _last_symbols(count: int) -> NDArray[np.int64]:
    """The index of the last symbol of each lane."""
    return np.append(np.arange(_SYMBOLS_PER_LANE, count, _SYMBOLS_PER_LANE), count) - 1


def _lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(256,) code lengths: zero for symbols that do not occur, _LONGEST at the most."""
    (used,) = np.nonzero(counts)
    lengths = np.zeros(256, dtype=np.int64)
    weights = counts[used]
    while True:
        lengths[used] = _depths(weights)
        if lengths.max() <= _LONGEST:
            return lengths
        weights = (weights + 1) // 2  # nearer to each other, hence a tree of less depth


def _depths(weights: NDArray[np.int64]) -> list[int]:
    """Depth of each symbol in the Huffman tree of some weights."""
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
    """The symbols that have codes, by length, then by value; and how many strings of _LONGEST bits begin with each."""
    order = np.lexsort((np.arange(256), lengths))
    order = order[lengths[order] > 0]
    return order, 1 << (_LONGEST - lengths[order])


def _codes(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(256,) canonical codes: each follows the one before it, in the order of `_canonical`."""
    order, shares = _canonical(lengths)
    codes = np.zeros(256, dtype=np.int64)
    codes[order] = (shares.cumsum() - shares) >> (_LONGEST - lengths[order])
    return codes


def _lookup(lengths: NDArray[np.int64]) -> tuple[Bytes, NDArray[np.int64]]:
    """For every string of _LONGEST bits the symbol that it begins with, and its code length. Raises BitstreamError."""
    order, shares = _canonical(lengths)
    if not 0 < shares.sum() <= 1 << _LONGEST:
        raise BitstreamError("corrupted bitstream: it has code lengths that no Huffman code has")
    symbols = np.repeat(order, shares)
    symbols = np.append(symbols, np.full((1 << _LONGEST) - len(symbols), symbols[-1]))
    return symbols.astype(np.uint8), lengths[symbols]


def _inflate_lengths(deflated: bytes) -> NDArray[np.int64]:
    """(256,) code lengths. Raises BitstreamError."""
    try:
        inflated = zlib.decompressobj().decompress(deflated, 257)
    except zlib.error as error:
        raise BitstreamError("corrupted bitstream: the lengths of a Huffman code cannot be inflated") from error
    lengths = np.frombuffer(inflated, np.uint8).astype(np.int64)
    if len(lengths) != 256 or lengths.max() > _LONGEST:
        raise BitstreamError("corrupted bitstream: it has code lengths that no Huffman code has")
    return lengths
