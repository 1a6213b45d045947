import numpy as np
import pytest

from components.entropy.pixels.rans import TOTAL, ByteModels, LaneDecoder, LaneEncoder
from components.errors import BitstreamError


@pytest.fixture(scope="module")
def models() -> ByteModels:
    """Five models: peaked, flat, one value alone, and two at random with values that have no frequency."""
    random = np.random.default_rng(0)
    table = np.zeros((5, 256), dtype=np.int64)
    table[0, :4] = TOTAL - 12, 4, 4, 4
    table[1] = TOTAL // 256
    table[2, 77] = TOTAL
    for row in table[3:]:
        row[:] = random.multinomial(TOTAL, random.dirichlet(np.full(256, 0.05)))
    return ByteModels(table)


def sampled(models: ByteModels, sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Groups of rows, and of values as often as their frequencies say."""
    random = np.random.default_rng(1)
    groups = []
    for size in sizes:
        rows = random.integers(0, 5, size).astype(np.int32)
        slots = models.slots[(rows << 12) + random.integers(0, TOTAL, size)]
        groups.append((rows, (slots & 255).astype(np.uint8)))
    return groups


@pytest.mark.parametrize("lanes", [1, 3, 64])
@pytest.mark.parametrize("sizes", [[1], [64, 1, 130, 0, 63], [40] * 200])
def test_symbols_come_back(models: ByteModels, lanes: int, sizes: list[int]) -> None:
    groups = sampled(models, sizes)
    encoder = LaneEncoder(models, lanes)
    for rows, values in groups:
        encoder.encode(rows, values)
    data = encoder.finish()
    decoder = LaneDecoder(models, lanes, data)
    for rows, values in groups:
        assert np.array_equal(decoder.decode(rows), values)
    decoder.finish()
    frequencies = np.concatenate([models.frequencies[(rows << 8) + values] for rows, values in groups])
    ideal = -np.log2(frequencies / TOTAL).sum() / 8
    assert ideal <= len(data) <= 1.001 * ideal + 4 * lanes + 4


def test_bytes_that_no_encoder_wrote_are_refused(models: ByteModels) -> None:
    groups = sampled(models, [50] * 40)
    encoder = LaneEncoder(models, 8)
    for rows, values in groups:
        encoder.encode(rows, values)
    data = encoder.finish()

    def decode(data: bytes) -> np.ndarray:
        decoder = LaneDecoder(models, 8, data)
        values = np.concatenate([decoder.decode(rows) for rows, _ in groups])
        decoder.finish()
        return values

    right = decode(data)
    for bad in (b"", data[:31], data[:-1], data[:-2], data + b"ab", bytes(len(data)), b"\xff" * len(data)):
        with pytest.raises(BitstreamError, match="corrupted bitstream"):
            decode(bad)
    refused = 0
    tried = range(0, len(data), 17)
    for at in tried:
        flipped = bytearray(data)
        flipped[at] ^= 16
        try:
            assert not np.array_equal(decode(bytes(flipped)), right)
        except BitstreamError:
            refused += 1
    assert refused > len(tried) / 2, "most of the time the states do not come back to where they began"
