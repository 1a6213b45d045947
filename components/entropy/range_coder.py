"""The range coder, over tables of integer frequencies (constriction's queue coder; numpy in, bytes out).

A model is a row of positive integers with sum `TOTAL`. Divided by TOTAL they are exact in binary floating
point, and so is every sum of them: encoder and decoder see the same intervals on every machine.
"""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from components.errors import BitstreamError

Ints = NDArray[np.int32]

PRECISION = 16
TOTAL = 1 << PRECISION


def _categorical(frequencies: Ints) -> "constriction.stream.model.Categorical":
    return constriction.stream.model.Categorical(frequencies.astype(np.float64) / TOTAL, perfect=False)


_FAMILY = constriction.stream.model.Categorical(perfect=False)


class SymbolEncoder:
    """Symbols in, bytes out: what `SymbolDecoder` takes back in the same order."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Ints, frequencies: Ints) -> None:
        """Code (n,) symbols, each below len(frequencies), with one table."""
        self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _categorical(frequencies))

    def encode_each(self, symbols: Ints, frequencies: Ints) -> None:
        """Code (n,) symbols, each with its own row of (n, entries)."""
        rows = frequencies.astype(np.float64) / TOTAL
        self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _FAMILY, rows)

    def encode_uniform(self, values: Ints, size: int) -> None:
        """Code (n,) values from 0 to size - 1 (size from 2 to 2^24) as equally probable."""
        model = constriction.stream.model.Uniform(size)
        self._coder.encode(np.ascontiguousarray(values, dtype=np.int32), model)

    def finish(self) -> bytes:
        """All that was put, in whole 32-bit words, the first byte the most significant."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype(">u4").tobytes()


class SymbolDecoder:
    """The inverse of `SymbolEncoder`. Raises BitstreamError for bytes that no encoder wrote."""

    def __init__(self, data: bytes):
        if len(data) % 4:
            raise BitstreamError("corrupted bitstream: entropy-coded bytes are not whole words")
        self._coder = _reader(data)

    def decode(self, count: int, frequencies: Ints) -> Ints:
        """The next `count` symbols of one table."""
        return self._decode(_categorical(frequencies), count)

    def decode_each(self, frequencies: Ints) -> Ints:
        """The next symbol of each row of (n, entries)."""
        return self._decode(_FAMILY, frequencies.astype(np.float64) / TOTAL)

    def decode_uniform(self, count: int, size: int) -> Ints:
        """The next `count` values from 0 to size - 1."""
        return self._decode(constriction.stream.model.Uniform(size), count)

    def _decode(self, model: object, what: Any) -> Ints:
        try:
            return np.asarray(self._coder.decode(model, what), dtype=np.int32)
        except _LOST as error:
            raise BitstreamError("corrupted bitstream: the range decoder lost its way") from error


class EndOfPrefixError(Exception):
    """A prefix ends before the symbols that were asked for; `known` are those that it decides."""

    def __init__(self, known: Ints):
        super().__init__(f"{len(known)} symbols are known")
        self.decoded = known


class PrefixDecoder(SymbolDecoder):
    """The inverse of `SymbolEncoder` for any number of its first bytes. Raises EndOfPrefixError where they end.

    A prefix stands for all the streams that begin with it, an interval of numbers. Symbols that its two ends agree on
    are those of every stream between.
    """

    def __init__(self, data: bytes):
        self._coder = _reader(data + bytes(-len(data) % 4))
        self._upper = _reader(data + b"\xff" * (-len(data) % 4 + _LOOKAHEAD))

    def _decode(self, model: object, what: Any) -> Ints:
        taken = []
        count = what if isinstance(what, int) else len(what)
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            known = self._agreed(model, size if isinstance(what, int) else what[start : start + size], size)
            taken.append(known)
            if len(known) < size:
                raise EndOfPrefixError(np.concatenate(taken))
        return np.concatenate(taken) if taken else np.empty(0, dtype=np.int32)

    def _agreed(self, model: object, what: Any, size: int) -> Ints:
        """The symbols that both ends agree on, before the first that they do not."""
        ends = self._coder.clone(), self._upper.clone()
        try:
            lower, upper = (np.asarray(end.decode(model, what), dtype=np.int32) for end in ends)
        except _LOST:
            # One end ran into numbers that stand for no symbol, some way after the last that is known.
            if size == 1:
                return np.empty(0, dtype=np.int32)
            half = size // 2
            first, second = (half, size - half) if isinstance(what, int) else (what[:half], what[half:])
            known = self._agreed(model, first, half)
            return known if len(known) < half else np.concatenate((known, self._agreed(model, second, size - half)))
        self._coder, self._upper = ends
        (differing,) = np.nonzero(lower != upper)
        return lower[: differing[0]] if len(differing) else lower


_LOST = (AssertionError, ValueError)
_CHUNK = 4096  # symbols decoded before the ends are compared
_LOOKAHEAD = 3 * _CHUNK + 64  # bytes: a symbol takes 24 bits at the most


def _reader(data: bytes) -> "constriction.stream.queue.RangeDecoder":
    return constriction.stream.queue.RangeDecoder(np.frombuffer(data, ">u4").astype(np.uint32))
