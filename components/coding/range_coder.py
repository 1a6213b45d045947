"""Range coder over tables of integer frequencies (constriction's queue coder), and a decoder for prefixes of its bytes.

A model is a row of positive integers with sum TOTAL = 2^16. Divided by TOTAL they are exact in binary floating point,
and so is every sum of them: encoder and decoder see the same intervals on every machine.
"""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from ..errors import BitstreamError

Ints = NDArray[np.int32]

PRECISION = 16
TOTAL = 1 << PRECISION
"""The sum of the frequencies of a model."""


def _categorical(frequencies: Ints) -> "constriction.stream.model.Categorical":
    return constriction.stream.model.Categorical(frequencies.astype(np.float64) / TOTAL, perfect=False)


_FAMILY = constriction.stream.model.Categorical(perfect=False)


class SymbolEncoder:
    """Range encoder: symbols to bytes. `SymbolDecoder` returns them in the same order (a queue)."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Ints, frequencies: Ints) -> None:
        """Code symbols with one table.

        Args:
            symbols: (n,) integers from 0 to entries - 1.
            frequencies: (entries,) positive integers with sum TOTAL.
        """
        self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _categorical(frequencies))

    def encode_each(self, symbols: Ints, frequencies: Ints) -> None:
        """Code (n,) symbols, each with its own row of frequencies (n, entries)."""
        rows = frequencies.astype(np.float64) / TOTAL
        self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _FAMILY, rows)

    def encode_uniform(self, values: Ints, size: int) -> None:
        """Code (n,) values from 0 to size - 1 as equally probable; size is from 2 to 2^24."""
        model = constriction.stream.model.Uniform(size)
        self._coder.encode(np.ascontiguousarray(values, dtype=np.int32), model)

    def finish(self) -> bytes:
        """All that was coded, in whole 32-bit words, most significant byte first."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype(">u4").tobytes()


class SymbolDecoder:
    """Inverse of `SymbolEncoder`. Its methods raise BitstreamError for bytes that no encoder wrote."""

    def __init__(self, data: bytes):
        if len(data) % 4:
            raise BitstreamError("corrupted bitstream: entropy-coded bytes are not whole words")
        self._coder = _reader(data)

    def decode(self, count: int, frequencies: Ints) -> Ints:
        """The next `count` symbols, coded with one table (entries,)."""
        return self._decode(_categorical(frequencies), count)

    def decode_each(self, frequencies: Ints) -> Ints:
        """The next (n,) symbols, each coded with its row of frequencies (n, entries)."""
        return self._decode(_FAMILY, frequencies.astype(np.float64) / TOTAL)

    def decode_uniform(self, count: int, size: int) -> Ints:
        """The next `count` values from 0 to size - 1."""
        return self._decode(constriction.stream.model.Uniform(size), count)

    def _decode(self, model: object, count_or_rows: Any) -> Ints:
        """Symbols of one model (a count), or of a family of models with a row of parameters each."""
        try:
            return np.asarray(self._coder.decode(model, count_or_rows), dtype=np.int32)
        except _DECODING_ERRORS as error:
            raise BitstreamError("corrupted bitstream: the range decoder met an invalid code word") from error


class EndOfPrefixError(Exception):
    """A prefix ends before the requested symbols; `decoded` (n,) are the first of them, which the prefix determines."""

    def __init__(self, decoded: Ints):
        super().__init__(f"the prefix determines {len(decoded)} symbols")
        self.decoded = decoded


class PrefixDecoder(SymbolDecoder):
    """Inverse of `SymbolEncoder` for a prefix of its bytes, of any length. Raises EndOfPrefixError where that ends.

    The streams that begin with a prefix form an interval of numbers. A symbol is determined where the lower and the
    upper end of this interval decode to the same one, because the streams between them then do too.
    """

    def __init__(self, data: bytes):
        self._coder = _reader(data + bytes(-len(data) % 4))
        self._upper = _reader(data + b"\xff" * (-len(data) % 4 + _LOOKAHEAD))

    def _decode(self, model: object, count_or_rows: Any) -> Ints:
        parts = []
        count = count_or_rows if isinstance(count_or_rows, int) else len(count_or_rows)
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            chunk = size if isinstance(count_or_rows, int) else count_or_rows[start : start + size]
            determined = self._determined(model, chunk, size)
            parts.append(determined)
            if len(determined) < size:
                raise EndOfPrefixError(np.concatenate(parts))
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)

    def _determined(self, model: object, count_or_rows: Any, size: int) -> Ints:
        """The symbols, of the next `size`, before the first that differs between the two ends of the interval."""
        ends = self._coder.clone(), self._upper.clone()
        try:
            lower, upper = (np.asarray(end.decode(model, count_or_rows), dtype=np.int32) for end in ends)
        except _DECODING_ERRORS:
            # One end reached an invalid code word, some way after the last determined symbol: try each half.
            if size == 1:
                return np.empty(0, dtype=np.int32)
            half = size // 2
            if isinstance(count_or_rows, int):
                first, second = half, size - half
            else:
                first, second = count_or_rows[:half], count_or_rows[half:]
            determined = self._determined(model, first, half)
            if len(determined) < half:
                return determined
            return np.concatenate((determined, self._determined(model, second, size - half)))
        self._coder, self._upper = ends
        (differing,) = np.nonzero(lower != upper)
        return lower[: differing[0]] if len(differing) else lower


_DECODING_ERRORS = (AssertionError, ValueError)
_CHUNK = 4096  # symbols decoded before the ends are compared
_LOOKAHEAD = 3 * _CHUNK + 64  # bytes: a symbol takes 24 bits at the most


def _reader(data: bytes) -> "constriction.stream.queue.RangeDecoder":
    return constriction.stream.queue.RangeDecoder(np.frombuffer(data, ">u4").astype(np.uint32))
