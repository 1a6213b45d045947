import numpy as np
import pytest

from components.entropy.pixels import wavefront
from components.entropy.pixels.neighbourhood import LAG, NEIGHBOURS
from components.entropy.pixels.wavefront import Wavefront, strips

SIZES = [(1, 1), (1, 9), (9, 1), (2, 3), (64, 256), (65, 257), (130, 300), (7, 700)]


def numbered(height: int, width: int) -> np.ndarray:
    """Planes that number their pixels."""
    number = np.arange(height * width).reshape(height, width)
    return np.stack((number % 1000, -(number // 1000), number % 7)).astype(np.int16)


def numbers(values: np.ndarray) -> np.ndarray:
    """The numbers in planes (3, ...)."""
    number: np.ndarray = values[0] - 1000 * values[1]
    return number


@pytest.mark.parametrize("size", SIZES)
def test_every_pixel_has_its_turn_once(size: tuple[int, int]) -> None:
    front_of = Wavefront(*size)
    front_of.load(numbered(*size))
    assert np.array_equal(front_of.planes(), numbered(*size))
    met = []
    for front in front_of.walk():
        here = numbers(front.values).ravel()
        met.append(here if front.coded is None else here[front.coded])
    assert np.array_equal(np.sort(np.concatenate(met)), np.arange(size[0] * size[1]))
    assert np.array_equal(front_of.planes(), numbered(*size)), "stand-ins overwrite no pixels"


@pytest.mark.parametrize("size", SIZES)
def test_decoding_sees_what_encoding_saw(size: tuple[int, int]) -> None:
    """A picture that is filled in front by front shows the same neighbours as one that is there from the start."""
    whole, growing = Wavefront(*size), Wavefront(*size)
    whole.load(numbered(*size))
    for there, here in zip(whole.walk(), growing.walk(), strict=True):
        assert np.array_equal(there.context, here.context)
        assert np.array_equal(there.context_errors, here.context_errors)
        here.values[:] = there.values
        here.errors[:] = there.errors[:] = numbers(there.values) % 100
    assert np.array_equal(growing.planes(), numbered(*size))


def test_neighbours_are_the_pixels_around() -> None:
    height, width = 40, 50
    planes = numbered(height, width)
    front_of = Wavefront(height, width)
    front_of.load(planes)
    inside = 0
    for front in front_of.walk():
        for number, here in enumerate(numbers(front.values).ravel()):
            y, x = divmod(int(here), width)
            if y >= 3 and 3 <= x < width - 3:
                expected = [planes[:, y - up, x - left] for up, left in NEIGHBOURS]
                assert np.array_equal(front.context[:, :, number], np.stack(expected))
                inside += 1
    assert inside == (height - 3) * (width - 6)


def test_fronts_are_few() -> None:
    front_of = Wavefront(512, 768)
    assert sum(1 for _ in front_of.walk()) == 256 + LAG * 63, "24 tiles of 64x256, all at once"


def test_strips_cover_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(strips(512, 768)) == [slice(0, 512)]
    assert list(strips(3, 1 << 16)) == [slice(0, 3)]
    monkeypatch.setattr(wavefront, "_STRIP", 64 * 100 * 2)
    assert list(strips(300, 100)) == [slice(0, 128), slice(128, 256), slice(256, 300)]
