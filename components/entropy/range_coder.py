"""The range coder, over tables of integer frequencies (constriction's queue coder; numpy in, bytes out).

A model is a row of positive integers with sum `TOTAL`. Divided by TOTAL they are exact in binary floating
point, and so is every sum of them: encoder and decoder see the same intervals on every machine.
"""

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

    def put(self, symbols: Ints, frequencies: Ints) -> None:
        """Code (n,) symbols, each below len(frequencies), with one table."""
        self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _categorical(frequencies))

    def put_each(self, symbols: Ints, frequencies: Ints) -> None:
        """Code (n,) symbols, each with its own row of (n, entries)."""
        rows = frequencies.astype(np.float64) / TOTAL
        self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _FAMILY, rows)

    def put_uniform(self, values: Ints, size: int) -> None:
        """Code (n,) values from 0 to size - 1 (size from 2 to 2^24) as equally probable."""
        model = constriction.stream.model.Uniform(size)
        self._coder.encode(np.ascontiguousarray(values, dtype=np.int32), model)

    def finish(self) -> bytes:
        """All that was put, in whole 32-bit words."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype("<u4").tobytes()


class SymbolDecoder:
    """The inverse of `SymbolEncoder`. Raises BitstreamError for bytes that no encoder wrote."""

    def __init__(self, data: bytes):
        if len(data) % 4:
            raise BitstreamError("corrupted bitstream: entropy-coded bytes are not whole words")
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def take(self, count: int, frequencies: Ints) -> Ints:
        """The next `count` symbols of one table."""
        return self._decode(_categorical(frequencies), count)

    def take_each(self, frequencies: Ints) -> Ints:
        """The next symbol of each row of (n, entries)."""
        return self._decode(_FAMILY, frequencies.astype(np.float64) / TOTAL)

    def take_uniform(self, count: int, size: int) -> Ints:
        """The next `count` values from 0 to size - 1."""
        return self._decode(constriction.stream.model.Uniform(size), count)

    def _decode(self, model: object, what: object) -> Ints:
        try:
            return np.asarray(self._coder.decode(model, what), dtype=np.int32)
        except (AssertionError, ValueError) as error:
            raise BitstreamError("corrupted bitstream: the range decoder lost its way") from error
