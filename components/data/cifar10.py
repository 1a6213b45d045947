"""CIFAR-10 (Krizhevsky 2009) in its binary distribution, cifar-10-binary.tar.gz, which needs no unpickling.

A batch, `data_batch_1.bin` to `data_batch_5.bin` or `test_batch.bin`, is a sequence of records of 3073 bytes: one byte
for the label, 0 to 9, and the red, green and blue planes of a 32x32 picture, row by row.
"""

import re
from pathlib import Path

import numpy as np

from ..arrays import Rgb
from ..errors import SourceError

SIDE = 32
"""Pixels; every picture is a square."""

_NAME = re.compile(r"(data_batch_\d+|test_batch)\.bin")
_RECORD = 1 + 3 * SIDE**2
_LABELS = 10


def is_batch(path: str) -> bool:
    """Whether a file of an archive is called like a batch: `data_batch_1.bin`, `test_batch.bin`."""
    return _NAME.fullmatch(path.rpartition("/")[2]) is not None


def read_batch(path: Path) -> dict[str, Rgb]:
    """The pictures (32, 32, 3) of a batch, named after their places: `00000.png` is the first.

    Raises:
        SourceError: for a file that is empty, ends within a record, or has a label beyond 9.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if not data.size or data.size % _RECORD:
        raise SourceError(f"{path.name}: not a batch of pictures: {data.size} bytes, not a multiple of {_RECORD}")
    records = data.reshape(-1, _RECORD)
    if (largest := records[:, 0].max()) >= _LABELS:
        raise SourceError(f"{path.name}: not a batch of pictures: a label is {largest}, of 0 to {_LABELS - 1}")
    pictures = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return {f"{place:05d}.png": picture for place, picture in enumerate(pictures)}
