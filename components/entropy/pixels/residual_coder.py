"""Residuals of predicted bytes, modulo 256: coded with a distribution each, or with one Huffman code for each plane.

A writer takes, and a reader gives, the residuals of plane after plane and front after front. `rows` are the tables of
entropy.logistics.
"""

import struct
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from components.entropy.pixels import huffman
from components.entropy.pixels.logistic_mixture import ESCAPE
from components.entropy.pixels.rans import ByteModels, LaneDecoder, LaneEncoder
from components.errors import BitstreamError

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int32]

_PIXELS_PER_LANE_BITS = 10
_MOST_LANES = 512
_LENGTH = struct.Struct("<I")


class ResidualEncoder(Protocol):
    """Residuals to bytes."""

    def encode(self, plane: int, rows: Rows, residuals: Bytes) -> None:
        """(n,) residuals of a plane."""

    def finish(self) -> bytes:
        """All of it."""


class ResidualDecoder(Protocol):
    """The inverse. Raises BitstreamError for bytes that no writer wrote."""

    def decode(self, plane: int, rows: Rows) -> Bytes:
        """The next (n,) residuals of a plane."""

    def finish(self) -> None:
        """Raises BitstreamError unless all of it was read."""


class RansResidualEncoder:
    """Each residual with its own distribution; those it has no frequency for as an escape, and by themselves."""

    def __init__(self, models: ByteModels, pixels: int):
        self._models = models
        self._lanes = LaneEncoder(models, _lanes(pixels))
        self._escaped: list[Bytes] = []

    def encode(self, plane: int, rows: Rows, residuals: Bytes) -> None:  # noqa: ARG002
        """(n,) residuals."""
        escapes = (self._models.frequencies[(rows << 8) + residuals] == 0) | (residuals == ESCAPE)
        self._escaped.append(residuals[escapes])
        self._lanes.encode(rows, np.where(escapes, np.uint8(ESCAPE), residuals))

    def finish(self) -> bytes:
        """How many bytes the lanes take, the lanes, what escaped."""
        coded = self._lanes.finish()
        return _LENGTH.pack(len(coded)) + coded + np.concatenate(self._escaped).tobytes()


class RansResidualDecoder:
    """The inverse of `RansResidualEncoder`."""

    def __init__(self, models: ByteModels, pixels: int, data: bytes):
        coded, rest = _split(data)
        self._lanes = LaneDecoder(models, _lanes(pixels), coded)
        self._escaped, self._read = np.frombuffer(rest, np.uint8), 0

    def decode(self, plane: int, rows: Rows) -> Bytes:  # noqa: ARG002
        """The next (n,) residuals."""
        residuals = self._lanes.decode(rows)
        (escapes,) = np.nonzero(residuals == ESCAPE)
        if len(escapes):
            values = self._escaped[self._read : self._read + len(escapes)]
            if len(values) < len(escapes):
                raise BitstreamError("corrupted bitstream: it ends among the values that escaped")
            self._read += len(escapes)
            residuals[escapes] = values
        return residuals

    def finish(self) -> None:
        """Whether all of it was read."""
        self._lanes.finish()
        if self._read != len(self._escaped):
            raise BitstreamError("corrupted bitstream: more values escaped than there are escapes")


class HuffmanResidualEncoder:
    """One code for each plane."""

    def __init__(self, planes: int):
        self._residuals: list[list[Bytes]] = [[] for _ in range(planes)]

    def encode(self, plane: int, rows: Rows, residuals: Bytes) -> None:  # noqa: ARG002
        """(n,) residuals of a plane."""
        self._residuals[plane].append(residuals)

    def finish(self) -> bytes:
        """Plane after plane, each with its length."""
        coded = [huffman.encode(np.concatenate(residuals)) for residuals in self._residuals]
        return b"".join(_LENGTH.pack(len(part)) + part for part in coded)


class HuffmanResidualDecoder:
    """The inverse of `HuffmanResidualEncoder`."""

    def __init__(self, planes: int, pixels: int, data: bytes):
        self._residuals = []
        for _ in range(planes):
            coded, data = _split(data)
            self._residuals.append(huffman.decode(coded, pixels))
        if data:
            raise BitstreamError("corrupted bitstream: more follows the last plane")

    def decode(self, plane: int, rows: Rows) -> Bytes:
        """The next (n,) residuals of a plane."""
        taken, self._residuals[plane] = np.split(self._residuals[plane], [len(rows)])
        return taken

    def finish(self) -> None:
        """As many residuals were read as there are pixels."""


def _lanes(pixels: int) -> int:
    """Two bytes of a lane are lost: one lane for as many pixels that it does not matter."""
    return max(1, min(_MOST_LANES, pixels >> _PIXELS_PER_LANE_BITS))


def _split(data: bytes) -> tuple[bytes, bytes]:
    """What a length at the head is the length of, and the rest. Raises BitstreamError."""
    if len(data) < _LENGTH.size:
        raise BitstreamError("corrupted bitstream: it ends in a length")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if len(data) < end:
        raise BitstreamError("corrupted bitstream: a part is shorter than its length says")
    return data[_LENGTH.size : end], data[end:]
