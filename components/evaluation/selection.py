"""Choice of the winning codec, and the gate between a challenger and the champion: figures in, decisions out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ..settings import Settings, Share


@dataclass(frozen=True)
class Candidate:
    """A codec's figures on the test set at the target rate.

    Attributes:
        name: of the variant or baseline.
        kind: "learned", "baseline" or "lossless".
        bpp: rate in bits per pixel; None where the codec did not reach the target.
        quality: by the metric that ranks codecs, larger is better; None where it does not exist.
        interpolated: whether the figures lie between those of two real settings; no file has them.
    """

    name: str
    kind: str
    bpp: float | None
    quality: float | None
    interpolated: bool = False


class RateAndQuality(NamedTuple):
    """Rate in bits per pixel, and quality by the metric that ranks codecs, on one test set."""

    bpp: float
    quality: float


class Gate(Settings):
    """Thresholds for a challenger against the champion on the same test set."""

    min_gain: Annotated[float, Field(ge=0)] = 0.0
    """The challenger's quality must exceed the champion's by more than this, in the metric's unit."""
    rate_slack: Share = 0.01
    """The challenger's bpp may be larger by this share, the difference that trimming to the target leaves."""


class Decision(NamedTuple):
    """The outcome of a gate, and a sentence with the figures behind it."""

    outcome: Literal["promoted", "kept champion"]
    why: str


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best quality first; at equal quality the lower rate, then the name. Candidates without quality come last."""
    return sorted(
        candidates,
        key=lambda one: (one.quality is None, -(one.quality or 0.0), one.bpp or 0.0, one.name),
    )


def winner(ranked: Sequence[Candidate], metric: str, target_bpp: float) -> tuple[str | None, str]:
    """The best learned codec at or below the target rate, by figures of real files.

    Baselines are ranked beside the learned codecs, but cannot be registered: the sentence names those that are better.

    Args:
        ranked: candidates, best first.
        metric: name of the quality, for the sentence.
        target_bpp: the target rate in bits per pixel.

    Returns:
        The name of the winner, or None where no learned codec qualifies, and a sentence that says why.
    """
    able = [
        (one.name, one.bpp, one.quality)
        for one in ranked
        if one.kind == "learned" and not one.interpolated
        if one.quality is not None and one.bpp is not None and one.bpp <= target_bpp
    ]
    if not able:
        return None, f"no learned codec has a {metric} at {target_bpp:g} bpp or less"
    name, bpp, best = able[0]
    why = f"{name} has the highest {metric} of the learned codecs: {best:.3f} at {bpp:.4f} bpp"
    if len(able) > 1:
        second, _, quality = able[1]
        why += f", {best - quality:.3f} above {second}"
    ahead = [one.name for one in ranked if one.kind == "baseline" and (one.quality or 0.0) > best]
    return name, why + (f"; classic codecs above it: {', '.join(ahead)}" if ahead else "")


def challenge(challenger: RateAndQuality, champion: RateAndQuality | None, gate: Gate, metric: str) -> Decision:
    """Decide whether a challenger replaces the champion.

    Args:
        challenger: its figures on the test set.
        champion: its figures on the same test set; None where there is no champion.
        gate: the thresholds.
        metric: name of the quality, for the sentence.
    """
    new = f"{challenger.quality:.3f} at {challenger.bpp:.4f} bpp"
    if champion is None:
        return Decision("promoted", f"there was no champion; the challenger has {metric} {new}")
    old = f"{champion.quality:.3f} at {champion.bpp:.4f} bpp"
    compared = f"challenger {metric} {new}, champion {old}"
    if challenger.bpp > champion.bpp * (1 + gate.rate_slack):
        return Decision("kept champion", f"{compared}: the rate is higher by more than {gate.rate_slack:.1%}")
    if challenger.quality - champion.quality <= gate.min_gain:
        return Decision("kept champion", f"{compared}: the gain is not above {gate.min_gain:g}")
    return Decision("promoted", f"{compared}: better in quality and no worse in rate")
