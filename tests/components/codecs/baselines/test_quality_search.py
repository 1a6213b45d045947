from dataclasses import replace

import pytest

from components.arrays import Rgb
from components.codecs.baselines.lossy import BASELINES, Classic
from components.codecs.baselines.quality_search import largest_quality
from components.errors import CalibrationError
from tests.components.codecs.baselines.searched import TARGET, photographs, search

CODECS = pytest.mark.parametrize("codec", BASELINES.values(), ids=BASELINES.keys())


def rate(codec: Classic, quality: float) -> float:
    images = photographs()
    bits = 8 * sum(len(codec.encode(image, quality)) for image in images)
    pixels: int = sum(image.shape[0] * image.shape[1] for image in images)
    return bits / pixels


@CODECS
def test_the_largest_quality_meets_the_target_from_below(codec: Classic) -> None:
    quality, rates = search(codec.name)
    assert rates[quality] == rate(codec, quality) <= TARGET
    if codec.integer:
        assert rate(codec, quality + 1) > TARGET
    else:
        above = min(other for other, bpp in rates.items() if bpp > TARGET)
        assert rates[quality] >= 0.995 * TARGET or above <= 1.0011 * quality
        assert rates[quality] > 0.97 * TARGET


@CODECS
def test_the_search_does_not_depend_on_the_workers(codec: Classic) -> None:
    small = [picture[:64, :64] for picture in photographs()]
    assert largest_quality(codec, small, 2.0, workers=1) == largest_quality(codec, small, 2.0, workers=3)


def test_searches_for_several_targets_share_what_they_measure() -> None:
    codec, picture = BASELINES["jpeg"], photographs()[0]
    encoded: list[float] = []
    rates: dict[float, float] = {}

    def encode(rgb: Rgb, quality: float) -> bytes:
        encoded.append(quality)
        return codec.encoder(rgb, quality)

    counted = replace(codec, encoder=encode)
    first = largest_quality(counted, [picture], 0.8, rates=rates)
    taken = len(encoded)
    assert largest_quality(counted, [picture], 0.8, rates=rates) == first
    assert len(encoded) == taken
    second = largest_quality(counted, [picture], 0.6, rates=rates)
    assert 0.995 * 0.6 <= rates[second] <= 0.6
    assert len(encoded) == len(set(encoded)) == len(rates)


@CODECS
def test_a_search_takes_few_encodings(codec: Classic) -> None:
    _, first = search(codec.name)
    assert len(first) <= 9  # halving takes 8 to 15
    rates = dict(first)
    largest_quality(codec, photographs(), 1.1 * TARGET, rates=rates)
    assert len(rates) - len(first) <= 5


@CODECS
def test_an_unreachable_target_names_the_lowest_rate(codec: Classic) -> None:
    tiny = [photographs()[0][:8, :8]]
    lowest = 8 * len(codec.encode(tiny[0], codec.low)) / 64
    with pytest.raises(CalibrationError, match=rf"{codec.name} does not reach 0\.15 bpp.*{lowest:.4f} bpp"):
        largest_quality(codec, tiny, 0.15)


@CODECS
def test_a_generous_target_takes_the_highest_quality(codec: Classic) -> None:
    assert largest_quality(codec, [photographs()[0][:16, :16]], 1000) >= 0.99 * codec.high
