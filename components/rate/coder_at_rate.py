"""The coder that a codec has at any rate on given pictures: learned codecs by their gain, classic ones by quality."""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from ..arrays import Rgb
from ..codecs.base import Codec
from ..codecs.baselines.lossy import AtQuality, Classic
from ..codecs.baselines.quality_search import largest_quality
from ..codecs.coder import Coder, LearnedCoder
from ..codecs.effort import DEFAULT_EFFORT
from .gain_search import gain_for_target
from .real_rate import bpp_of, rate_function


class CoderAtRate(Protocol):
    """Gives the coder with a rate on a fixed set of pictures."""

    def __call__(self, bpp: float, tolerance: float | None = None) -> Coder:
        """The coder whose files have at most the rate, and nearly that.

        Args:
            bpp: Bits per pixel, total bits over total pixels.
            tolerance: Share by which the rate may fall short; None for the codec's own.

        Raises:
            CalibrationError: The codec does not reach the rate.
        """


class LearnedAtRate:
    """A learned codec at any rate, by its gain, without training.

    At the default effort pictures are analysed once for all rates. At other efforts each gain that the search tries
    costs a whole encoding.
    """

    def __init__(self, codec: Codec, pictures: Sequence[Rgb], tolerance: float, effort: int = DEFAULT_EFFORT):
        self._codec, self._pictures, self._tolerance, self._effort = codec, pictures, tolerance, effort
        self._rate_at = rate_function(codec, pictures) if effort == DEFAULT_EFFORT else cache(self._rate_at_effort)

    def __call__(self, bpp: float, tolerance: float | None = None) -> LearnedCoder:
        """The codec with the gain that meets the rate. Raises CalibrationError."""
        tolerance = tolerance or self._tolerance
        gain = gain_for_target(self._codec, self._pictures, bpp, tolerance, rate_at=self._rate_at)
        return LearnedCoder(self._codec, gain, effort=self._effort)

    def _rate_at_effort(self, gain: float) -> float:
        return bpp_of(LearnedCoder(self._codec, gain, effort=self._effort), self._pictures)


class ClassicAtRate:
    """A classic codec at any rate, by its quality. A quality is measured once for all rates."""

    def __init__(self, classic: Classic, pictures: Sequence[Rgb]):
        self._classic, self._pictures = classic, pictures
        self._known: dict[float, float] = {}

    def __call__(self, bpp: float, tolerance: float | None = None) -> AtQuality:  # noqa: ARG002 - qualities are close
        """The codec at the largest quality within the rate. Raises CalibrationError."""
        return AtQuality(self._classic, largest_quality(self._classic, self._pictures, bpp, rates=self._known))
