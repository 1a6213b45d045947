"""Coders of prediction residuals modulo 256: rANS with a distribution for each pixel, or a Huffman code for each plane.

    residual = (value - predicted) mod 256,  row = number of its table (components.entropy.pixels.logistic_mixture)

    rANS      residuals --table of the row; rare ones as an escape--> lanes of words | escaped bytes
    Huffman   residuals of a plane --histogram--> code lengths | codes           (rows are ignored)

Encoder and decoder go through the residuals in the same order: front after front, plane after plane.
"""

import struct
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import BitstreamError
from . import huffman
from .logistic_mixture import ESCAPE
from .rans import ByteModels, LaneDecoder, LaneEncoder

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int32]

_PIXELS_PER_LANE_BITS = 10
_MOST_LANES = 512
_LENGTH = struct.Struct("<I")


class ResidualEncoder(Protocol):
    """Residuals to bytes."""

    def encode(self, plane: int, rows: Rows, residuals: Bytes) -> None:
        """Code (n,) residuals of a plane, each with the table of its row (n,)."""

    def finish(self) -> bytes:
        """All that was coded."""


class ResidualDecoder(Protocol):
    """Inverse of a ResidualEncoder. Methods raise BitstreamError for bytes that no encoder wrote."""

    def decode(self, plane: int, rows: Rows) -> Bytes:
        """The next (n,) residuals of a plane."""

    def finish(self) -> None:
        """Raise BitstreamError unless all bytes were read."""


class RansResidualEncoder:
    """Codes each residual with its own distribution; those without a frequency as an escape and a raw byte.

    Args:
        models: tables of the logistic mixtures.
        pixels: of the strip, which set the number of lanes.
    """

    def __init__(self, models: ByteModels, pixels: int):
        self._models = models
        self._lanes = LaneEncoder(models, _lanes(pixels))
        self._escaped: list[Bytes] = []

    def encode(self, plane: int, rows: Rows, residuals: Bytes) -> None:  # noqa: ARG002
        """See ResidualEncoder."""
        escapes = (self._models.frequencies[(rows << 8) + residuals] == 0) | (residuals == ESCAPE)
        self._escaped.append(residuals[escapes])
        self._lanes.encode(rows, np.where(escapes, np.uint8(ESCAPE), residuals))

    def finish(self) -> bytes:
        """The length of the lanes, the lanes, the escaped bytes."""
        coded = self._lanes.finish()
        return _LENGTH.pack(len(coded)) + coded + np.concatenate(self._escaped).tobytes()


class RansResidualDecoder:
    """Inverse of `RansResidualEncoder`."""

    def __init__(self, models: ByteModels, pixels: int, data: bytes):
        coded, rest = _split_at_length(data)
        self._lanes = LaneDecoder(models, _lanes(pixels), coded)
        self._escaped, self._read = np.frombuffer(rest, np.uint8), 0

    def decode(self, plane: int, rows: Rows) -> Bytes:  # noqa: ARG002
        """See ResidualDecoder."""
        residuals = self._lanes.decode(rows)
        (escapes,) = np.nonzero(residuals == ESCAPE)
        if len(escapes):
            values = self._escaped[self._read : self._read + len(escapes)]
            if len(values) < len(escapes):
                raise BitstreamError("corrupted bitstream: it ends within the escaped values")
            self._read += len(escapes)
            residuals[escapes] = values
        return residuals

    def finish(self) -> None:
        """See ResidualDecoder."""
        self._lanes.finish()
        if self._read != len(self._escaped):
            raise BitstreamError("corrupted bitstream: it has more escaped values than escapes")


class HuffmanResidualEncoder:
    """Codes the residuals of each plane with one Huffman code, made for the strip."""

    def __init__(self, planes: int):
        self._residuals: list[list[Bytes]] = [[] for _ in range(planes)]

    def encode(self, plane: int, rows: Rows, residuals: Bytes) -> None:  # noqa: ARG002
        """See ResidualEncoder."""
        self._residuals[plane].append(residuals)

    def finish(self) -> bytes:
        """Plane after plane, each with its length."""
        coded = [huffman.encode(np.concatenate(residuals)) for residuals in self._residuals]
        return b"".join(_LENGTH.pack(len(part)) + part for part in coded)


class HuffmanResidualDecoder:
    """Inverse of `HuffmanResidualEncoder`, for planes of `pixels` residuals."""

    def __init__(self, planes: int, pixels: int, data: bytes):
        self._residuals = []
        for _ in range(planes):
            coded, data = _split_at_length(data)
            self._residuals.append(huffman.decode(coded, pixels))
        if data:
            raise BitstreamError("corrupted bitstream: more follows the last plane")

    def decode(self, plane: int, rows: Rows) -> Bytes:
        """See ResidualDecoder."""
        taken, self._residuals[plane] = np.split(self._residuals[plane], [len(rows)])
        return taken

    def finish(self) -> None:
        """Nothing to check: there were as many residuals as pixels."""


def _lanes(pixels: int) -> int:
    """Lanes for a strip: each loses two bytes, so one for every 2^10 pixels, and 512 at most."""
    return max(1, min(_MOST_LANES, pixels >> _PIXELS_PER_LANE_BITS))


def _split_at_length(data: bytes) -> tuple[bytes, bytes]:
    """The part whose length stands at the head of `data`, and the rest. Raises BitstreamError."""
    if len(data) < _LENGTH.size:
        raise BitstreamError("corrupted bitstream: it ends in a length")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if len(data) < end:
        raise BitstreamError("corrupted bitstream: a part is shorter than its length says")
    return data[_LENGTH.size : end], data[end:]
