"""Which codec wins, and whether a challenger replaces a champion. Pure: figures in, decisions and reasons out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Gate:
    """What a challenger must show on the champion's own test set.

    metric: the quality that must be better, larger is better.
    min_gain: by how much at least, in the metric's unit; strictly more than this.
    rate_slack: how much larger the challenger's bpp may be, as a share; both were trimmed to the target within
        the same tolerance, so a difference below it is no difference.
    """

    metric: str
    min_gain: float
    rate_slack: float


class Decision(NamedTuple):
    """The outcome of a gate and the sentence that gives its numbers."""

    outcome: Literal["promoted", "kept champion"]
    why: str


def rank(rows: Sequence[Row], metric: str) -> list[Row]:
    """Rows best first by `metric`; at equal quality the lower rate, then the name. Rows without a figure come last."""
    return sorted(
        rows,
        key=lambda row: (row[metric] is None, -(row[metric] or 0.0), row["bpp"] or 0.0, row["name"]),
    )


def winner(ranked: Sequence[Row], metric: str, target_bpp: float) -> tuple[str | None, str]:
    """The best learned codec of the ranked rows at or below the target rate, and why it is.

    Baselines are ranked beside the learned codecs, but cannot be registered: the sentence says which of them
    are better all the same.
    """
    able = [r for r in ranked if r["kind"] == "learned" and r[metric] is not None and r["bpp"] <= target_bpp]
    if not able:
        return None, f"no learned codec has a {metric} at {target_bpp:g} bpp or less"
    best = able[0]
    why = f"{best['name']} has the highest {metric} of the learned codecs: {best[metric]:.3f} at {best['bpp']:.4f} bpp"
    if len(able) > 1:
        why += f", {best[metric] - able[1][metric]:.3f} above {able[1]['name']}"
    ahead = [r["name"] for r in ranked if r["kind"] == "baseline" and (r[metric] or 0.0) > best[metric]]
    return best["name"], why + (f"; classic codecs above it: {', '.join(ahead)}" if ahead else "")


def challenge(challenger: Row, champion: Row | None, gate: Gate) -> Decision:
    """Whether `challenger` replaces `champion`; both rows hold bpp and the gate's metric on one test set."""
    metric = gate.metric
    new = f"{challenger[metric]:.3f} at {challenger['bpp']:.4f} bpp"
    if champion is None:
        return Decision("promoted", f"there was no champion; the challenger has {metric} {new}")
    old = f"{champion[metric]:.3f} at {champion['bpp']:.4f} bpp"
    compared = f"challenger {metric} {new}, champion {old}"
    if challenger["bpp"] > champion["bpp"] * (1 + gate.rate_slack):
        return Decision("kept champion", f"{compared}: the rate is higher by more than {gate.rate_slack:.1%}")
    if challenger[metric] - champion[metric] <= gate.min_gain:
        return Decision("kept champion", f"{compared}: the gain is not above {gate.min_gain:g}")
    return Decision("promoted", f"{compared}: better in quality and no worse in rate")
