import io

import numpy as np
import pytest
from PIL import Image

from components.entropy.pixels.index_coder import IndexMap, decode_indices, encode_indices
from components.errors import BitstreamError
from tests.drawings import page


def noise(height: int, width: int, bits: int) -> IndexMap:
    """Indices that nothing predicts."""
    return np.random.default_rng(0).integers(0, 1 << bits, (height, width), dtype=np.uint8)


def page_indices() -> IndexMap:
    """Sixteen greys of a page of text, white first."""
    return (15 - (page()[:, :, 0] >> 4)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (64, 256), (65, 257), (130, 77)])
@pytest.mark.parametrize("bits", [1, 4, 6])
def test_maps_come_back(shape: tuple[int, int], bits: int) -> None:
    indices = noise(*shape, bits)
    assert np.array_equal(decode_indices(encode_indices(indices, bits), shape, bits), indices)


def test_a_map_of_one_colour_takes_no_bits_for_its_index() -> None:
    indices = np.zeros((500, 700), np.uint8)
    data = encode_indices(indices, 0)
    assert np.array_equal(decode_indices(data, (500, 700), 0), indices)
    assert 8 * len(data) / indices.size < 0.02


def test_text_takes_fewer_bytes_than_in_lossless_webp() -> None:
    indices = page_indices()
    data = encode_indices(indices, 4)
    assert np.array_equal(decode_indices(data, indices.shape, 4), indices)
    webp = io.BytesIO()
    Image.fromarray(indices).convert("RGB").save(webp, "WEBP", lossless=True, quality=100, method=6)
    assert len(data) < len(webp.getvalue())


def test_noise_takes_hardly_more_than_its_bits() -> None:
    indices = noise(256, 256, 3)
    assert 8 * len(encode_indices(indices, 3)) < 1.1 * 3 * indices.size


def test_bytes_that_no_encoder_wrote_are_refused_or_give_a_map() -> None:
    indices = page_indices()[32:56, :64]
    data, refused = encode_indices(indices, 4), 0
    random = np.random.default_rng(2)
    for _ in range(60):
        changed = bytearray(data)
        changed[random.integers(len(data))] ^= 1 << random.integers(8)
        try:
            assert decode_indices(bytes(changed), indices.shape, 4).shape == indices.shape
        except BitstreamError:
            refused += 1
    assert refused > 50  # the final states are a checksum of 16 bits or more
    for end in (0, 3, len(data) // 2, len(data) - 2):
        with pytest.raises(BitstreamError):
            decode_indices(data[:end], indices.shape, 4)
