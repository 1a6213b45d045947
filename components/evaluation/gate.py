"""The gate between a challenger and the champion: figures of both on the same pictures in, judged rules out.

A rule is data: a figure, how it is taken over the pictures, and the gain that the challenger must have. Gains are
positive where the challenger is better. Those of qualities are differences in the quality's unit; those of costs
(rate, seconds, memory) are shares of what the champion takes, so that -1 is twice as much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from pydantic import model_validator

from ..settings import Settings
from .paired import Figures, paired_difference
from .results import ImageResult

Quality = Literal["psnr_db", "ssim", "ms_ssim", "ssimulacra2", "psnr_hvs_m_db"]
Cost = Literal["bpp", "encode_s", "decode_s", "peak_mb"]
Over = Literal["mean", "worst", "total"]
Pictures = Literal["test", "regression"]


class Rule(Settings):
    """One thing that a challenger must show."""

    figure: Quality | Cost | None = None
    """What is compared; null for the metric that ranks codecs."""
    over: Over = "mean"
    """The mean over pictures, the picture with the least gain, or the sums over all pictures (of costs alone)."""
    above: float
    """The gain must be larger than this."""
    certain: bool = False
    """Whether the lower end of the mean's 95 % interval counts in place of the mean."""
    pictures: Pictures = "test"
    """The test set, or pictures that somebody kept because a version failed on them (`ratewright regression add`)."""

    @model_validator(mode="after")
    def _possible(self) -> "Rule":
        if self.figure == "peak_mb" and self.over != "total":
            raise ValueError("peak_mb is one figure for all pictures: it takes `over: total`")
        if self.over == "total" and self.figure not in get_args(Cost):
            raise ValueError("`over: total` is for bpp, encode_s, decode_s and peak_mb")
        if self.certain and self.over != "mean":
            raise ValueError("`certain` is for `over: mean`")
        return self


RULES: Mapping[str, Rule] = {
    "rate": Rule(figure="bpp", over="total", above=-0.01),
    "quality": Rule(above=0.0, certain=True),
    "ms_ssim": Rule(figure="ms_ssim", above=-0.002),
    "ssimulacra2": Rule(figure="ssimulacra2", above=-1.0),
    "worst_picture": Rule(figure="psnr_db", over="worst", above=-0.5),
    "decode_time": Rule(figure="decode_s", over="total", above=-1.0),
    "memory": Rule(figure="peak_mb", over="total", above=-1.0),
    "regression": Rule(figure="psnr_db", over="worst", above=-0.1, pictures="regression"),
}
"""The rules that hold where params.yaml names no others."""


@dataclass(frozen=True)
class Measured:
    """A codec on the pictures of the gate.

    Attributes:
        test: the test set's pictures, at the target rate.
        regression: pictures that an earlier version failed on, with the same setting.
        peak_mb: memory of coding the largest picture, in 10^6 bytes; None where the system does not tell.
    """

    test: Sequence[ImageResult]
    regression: Sequence[ImageResult] = ()
    peak_mb: float | None = None


class JudgedRule(Settings):
    """A rule, and what the challenger showed."""

    rule: str
    """Name of the rule."""
    passed: bool
    """Whether the challenger may win by it."""
    figure: str
    """What was compared."""
    over: Over
    """How it was taken over the pictures."""
    above: float
    """The gain that was demanded."""
    gain: float | None
    """The challenger's gain; null where no picture has the figure."""
    low: float | None = None
    """Lower end of the mean's 95 % interval; null for other rules, and for one picture."""
    high: float | None = None
    """Upper end of it."""
    pictures: int
    """Pictures that have the figure with both codecs."""
    picture: str | None = None
    """The picture with the least gain, of a rule on it."""
    text: str
    """The same as a sentence."""


def judge(
    rules: Mapping[str, Rule], challenger: Measured, champion: Measured, ranking_metric: Quality
) -> list[JudgedRule]:
    """Judge a challenger by every rule that has pictures.

    Args:
        rules: name -> rule.
        challenger: its figures.
        champion: its figures, of the same pictures in the same order.
        ranking_metric: the figure of rules that name none.

    Raises:
        ValueError: the two were measured on other pictures.
    """
    return [
        _judged(name, rule, rule.figure or ranking_metric, *pair)
        for name, rule in rules.items()
        for pair in _of(rule, challenger, champion)
    ]


def _of(rule: Rule, challenger: Measured, champion: Measured) -> Iterator[tuple[Measured, Measured]]:
    """Both codecs on the rule's pictures, as test pictures; nothing where there are none."""
    if rule.pictures == "test":
        yield challenger, champion
    elif challenger.regression:
        yield Measured(challenger.regression), Measured(champion.regression)


def _judged(name: str, rule: Rule, figure: str, challenger: Measured, champion: Measured) -> JudgedRule:
    shown = _shown(rule, figure, challenger, champion)
    decides = shown.low if rule.certain and shown.low is not None else shown.gain
    passed = decides is None or decides > rule.above
    return JudgedRule(
        rule=name,
        passed=passed,
        figure=figure,
        over=rule.over,
        above=rule.above,
        gain=shown.gain,
        low=shown.low,
        high=shown.high,
        pictures=shown.pictures,
        picture=shown.picture,
        text=_sentence(rule, figure, shown, passed=passed),
    )


@dataclass(frozen=True)
class _Shown:
    """What the pictures say of one rule."""

    gain: float | None
    pictures: int
    low: float | None = None
    high: float | None = None
    picture: str | None = None


def _shown(rule: Rule, figure: str, challenger: Measured, champion: Measured) -> _Shown:
    if figure == "peak_mb":
        if challenger.peak_mb is None or champion.peak_mb is None:
            return _Shown(None, 0)
        return _Shown(1 - challenger.peak_mb / champion.peak_mb, 1)
    names, ours, theirs = _pairs(figure, challenger.test, champion.test)
    if not names:
        return _Shown(None, 0)
    if rule.over == "total":
        return _Shown(1 - float(ours.sum() / theirs.sum()), len(names))
    gains = 1 - ours / theirs if figure in get_args(Cost) else ours - theirs
    if rule.over == "worst":
        place = int(gains.argmin())
        return _Shown(float(gains[place]), len(names), picture=names[place])
    found = paired_difference(gains, np.zeros_like(gains))
    return _Shown(found.mean, len(names), found.low, found.high)


def _pairs(
    figure: str, challenger: Sequence[ImageResult], champion: Sequence[ImageResult]
) -> tuple[list[str], Figures, Figures]:
    """A figure of the pictures that have it with both codecs; of costs, what the whole picture takes."""
    if [one.image for one in challenger] != [one.image for one in champion]:
        raise ValueError("challenger and champion were measured on other pictures")
    names, pairs = [], []
    for ours, theirs in zip(challenger, champion, strict=True):
        pair = tuple(one.bytes if figure == "bpp" else getattr(one, figure) for one in (ours, theirs))
        if None not in pair:
            names.append(ours.image)
            pairs.append(pair)
    both = np.array(pairs, np.float64).reshape(-1, 2)
    return names, both[:, 0], both[:, 1]


_COSTS = {"bpp": "bits", "encode_s": "seconds to encode", "decode_s": "seconds to decode", "peak_mb": "memory"}


def _sentence(rule: Rule, figure: str, shown: _Shown, *, passed: bool) -> str:
    """The rule's outcome in words."""
    if shown.gain is None:
        return f"{_COSTS.get(figure, figure)}: not known of any picture with both codecs, so that it decides nothing"
    share = figure in get_args(Cost)
    what = f"{_in_words(shown.gain, share=share)} {_COSTS.get(figure, figure)}"
    where = {
        "mean": f"on average over {_count(shown.pictures)}",
        "worst": f"on {shown.picture}, the worst of {_count(shown.pictures)}",
        "total": "" if figure == "peak_mb" else f"over {_count(shown.pictures)}",
    }[rule.over]
    if shown.low is not None and shown.high is not None:
        where += f" (95 % interval {_number(shown.low, share=share)} to {_number(shown.high, share=share)})"
    limit = f"{'the interval' if rule.certain and shown.low is not None else 'it'} must lie above"
    broken = "" if passed else f", and {limit} {_number(rule.above, share=share)}"
    return f"{what}{where and ' '}{where}{broken}"


def _in_words(gain: float, *, share: bool) -> str:
    """A gain as what the challenger has: more or less of a cost, more or less of a quality."""
    if share:
        return f"{abs(gain):.1%} {'fewer' if gain > 0 else 'more'}"
    return f"{gain:+.4g}"


def _number(gain: float, *, share: bool) -> str:
    return f"{gain:+.1%}" if share else f"{gain:+.4g}"


def _count(pictures: int) -> str:
    return "one picture" if pictures == 1 else f"{pictures} pictures"
