"""Choice of the winning codec: figures in, decision out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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
