import numpy as np
import pytest

from components.entropy.pixels import logistic_mixture as logistics
from components.entropy.pixels.rans import ByteModels
from components.entropy.pixels.residual_coder import (
    HuffmanResidualDecoder,
    HuffmanResidualEncoder,
    RansResidualDecoder,
    RansResidualEncoder,
)
from components.errors import BitstreamError

COUNTS = (700, 1, 300)
Groups = list[tuple[int, np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def models() -> ByteModels:
    return ByteModels(logistics.tables().numpy())


@pytest.fixture(scope="module")
def groups() -> Groups:
    """(plane, rows, residuals): every residual, also where its row has no frequency for it."""
    random = np.random.default_rng(0)
    return [
        (plane, random.integers(0, 1024, count).astype(np.int32), random.integers(0, 256, count).astype(np.uint8))
        for count in COUNTS
        for plane in range(3)
    ]


def test_every_residual_comes_back_whatever_is_predicted(models: ByteModels, groups: Groups) -> None:
    writer = RansResidualEncoder(models, 4096)
    for plane, rows, residuals in groups:
        writer.encode(plane, rows, residuals)
    data = writer.finish()
    reader = RansResidualDecoder(models, 4096, data)
    for plane, rows, residuals in groups:
        assert np.array_equal(reader.decode(plane, rows), residuals)
    reader.finish()

    def read(data: bytes) -> None:
        reader = RansResidualDecoder(models, 4096, data)
        for plane, rows, _ in groups:
            reader.decode(plane, rows)
        reader.finish()

    with pytest.raises(BitstreamError, match="within the escaped values"):
        read(data[:-9])
    with pytest.raises(BitstreamError, match="more escaped values than escapes"):
        read(data + b"a")


def test_planes_have_huffman_codes_of_their_own(groups: Groups) -> None:
    writer = HuffmanResidualEncoder(3)
    for plane, rows, residuals in groups:
        writer.encode(plane, rows, residuals)
    data = writer.finish()
    reader = HuffmanResidualDecoder(3, sum(COUNTS), data)
    for plane, rows, residuals in groups:
        assert np.array_equal(reader.decode(plane, rows), residuals)
    reader.finish()
    for bad in (data[:3], data[:-1], data + b"a"):
        with pytest.raises(BitstreamError, match="corrupted bitstream"):
            HuffmanResidualDecoder(3, sum(COUNTS), bad)
