"""Coders at any rate, of a learned and of a classic codec."""

from collections.abc import Callable

import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.baselines.lossy import BASELINES
from components.codecs.coder import LearnedCoder
from components.errors import CalibrationError
from components.rate.coder_at_rate import ClassicAtRate, CoderAtRate, LearnedAtRate
from components.rate.real_rate import bpp_of


def test_the_rate_is_met_without_changing_the_codec(make_codec: Callable[..., Codec], photographs: list[Rgb]) -> None:
    codec, pictures = make_codec("wcae"), photographs[:2]
    deployed, gain = bpp_of(LearnedCoder(codec), pictures), codec.gain.item()
    at_rate: CoderAtRate = LearnedAtRate(codec, pictures, tolerance=0.01)
    for share, tolerance in ((0.8, None), (1.2, 0.1)):
        found = bpp_of(at_rate(share * deployed, tolerance), pictures)
        assert (1 - (tolerance or 0.01)) * share * deployed <= found <= share * deployed
    assert codec.gain.item() == gain


def test_a_classic_codec_stays_within_the_rate(photographs: list[Rgb]) -> None:
    at_rate: CoderAtRate = ClassicAtRate(BASELINES["webp"], photographs[:2])
    assert 0.5 < bpp_of(at_rate(1.0), photographs[:2]) <= 1.0
    with pytest.raises(CalibrationError, match="webp does not reach"):
        at_rate(1e-4)
