"""A calibrator on a trained codec: lambda by fine-tunes, then the gain."""

from collections.abc import Callable

import pytest

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.rate.calibrator import Calibrator, RateTrial
from components.rate.real_rate import bpp_of


def test_the_gain_meets_the_target(make_codec: Callable[..., Codec], photographs: list[Rgb]) -> None:
    codec, seen = make_codec("wcae"), list[RateTrial]()
    calibrator = Calibrator(codec, photographs[:1], 0.01, 40, seen.append)
    trained = calibrator.history[0]
    assert (trained.phase, trained.lmbda, trained.steps) == ("trained", 0.01, 40)
    target = 0.7 * trained.bpp
    final = calibrator.search_gain(target, 0.02)
    assert 0.98 * target <= final.bpp <= target
    assert final.bpp == bpp_of(LearnedCoder(codec), photographs[:1])
    assert final.gain == codec.gain.item()
    assert seen == calibrator.history
    assert [trial.phase for trial in seen[1:]] == ["gain_search"] * (len(seen) - 2) + ["final"]


def test_lambda_by_fine_tunes(make_codec: Callable[..., Codec], photographs: list[Rgb]) -> None:
    codec, asked = make_codec("wcae"), list[float]()
    calibrator = Calibrator(codec, photographs[:1], 0.01, 40)
    rate = calibrator.history[0].bpp

    def fine_tune(lmbda: float) -> int:
        asked.append(lmbda)
        return 7

    calibrator.search_lambda(0.5 * rate, fine_tune, rounds=2, close_enough=0.05)
    assert len(asked) == 2
    assert (calibrator.lmbda, calibrator.steps) == (asked[-1], 54)
    assert [(trial.lmbda, trial.steps) for trial in calibrator.history[1:]] == [(asked[0], 47), (asked[1], 54)]
    assert {trial.phase for trial in calibrator.history[1:]} == {"fine_tune"}

    before = len(asked)
    calibrator.search_lambda(calibrator.history[-1].bpp, fine_tune, rounds=2, close_enough=0.05)
    assert len(asked) == before, "close enough at once"


def test_a_codec_without_lambda(make_codec: Callable[..., Codec], photographs: list[Rgb]) -> None:
    calibrator = Calibrator(make_codec("qae"), photographs[:1], None, 40)
    assert calibrator.history[0].lmbda is None
    with pytest.raises(ValueError, match="lambda does not move the rate of codec 'qae'"):
        calibrator.search_lambda(0.1, lambda _: 1, rounds=1, close_enough=0.05)
