import numpy as np
import pytest

from components.entropy.pixels import logistic_mixture as logistics
from components.entropy.pixels.rans import Models
from components.entropy.pixels.residual_coder import HuffmanReader, HuffmanWriter, RangeReader, RangeWriter
from components.errors import BitstreamError

COUNTS = (700, 1, 300)
Groups = list[tuple[int, np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(logistics.tables().numpy())


@pytest.fixture(scope="module")
def groups() -> Groups:
    """(plane, rows, residuals): every residual, also where its row has no frequency for it."""
    random = np.random.default_rng(0)
    return [
        (plane, random.integers(0, 1024, count).astype(np.int32), random.integers(0, 256, count).astype(np.uint8))
        for count in COUNTS
        for plane in range(3)
    ]


def test_every_residual_comes_back_whatever_is_predicted(models: Models, groups: Groups) -> None:
    writer = RangeWriter(models, 4096)
    for plane, rows, residuals in groups:
        writer.put(plane, rows, residuals)
    data = writer.finish()
    reader = RangeReader(models, 4096, data)
    for plane, rows, residuals in groups:
        assert np.array_equal(reader.take(plane, rows), residuals)
    reader.finish()

    def read(data: bytes) -> None:
        reader = RangeReader(models, 4096, data)
        for plane, rows, _ in groups:
            reader.take(plane, rows)
        reader.finish()

    with pytest.raises(BitstreamError, match="among the values that escaped"):
        read(data[:-9])
    with pytest.raises(BitstreamError, match="more values escaped"):
        read(data + b"a")


def test_planes_have_huffman_codes_of_their_own(groups: Groups) -> None:
    writer = HuffmanWriter(3)
    for plane, rows, residuals in groups:
        writer.put(plane, rows, residuals)
    data = writer.finish()
    reader = HuffmanReader(3, sum(COUNTS), data)
    for plane, rows, residuals in groups:
        assert np.array_equal(reader.take(plane, rows), residuals)
    reader.finish()
    for bad in (data[:3], data[:-1], data + b"a"):
        with pytest.raises(BitstreamError, match="corrupted bitstream"):
            HuffmanReader(3, sum(COUNTS), bad)
