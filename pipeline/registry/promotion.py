"""Promotion and rollback: which version of a registered model is the champion, and the recorded reason."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel

from components.evaluation.selection import Gate, RateAndQuality, challenge
from pipeline.registry.client import TrackingError
from pipeline.registry.models import CHAMPION, RegisteredModel

Figures = dict[str, Any]
"""`bpp` and the metric that ranks codecs, of a version at the target rate on the test set."""


class PromotionDecision(BaseModel):
    """The decision on a challenger, as its version's tag `decision` keeps it."""

    outcome: Literal["promoted", "kept champion", "unchanged"]
    why: str
    """The reason with its numbers."""
    test_set_sha256: str
    """The test set that both versions were measured on."""
    challenger: Figures
    champion: dict[str, Any] | None
    """Version and figures of the champion before the decision."""
    champion_after: str | None
    """The champion's version after the decision."""
    replaced: str | None = None
    """The version that a rollback of this one restores."""


def decide(
    model: RegisteredModel,
    version: str,
    test_set_sha256: str,
    gate: Gate,
    metric: str,
    figures_of: Callable[[str], Figures],
) -> PromotionDecision:
    """Decide whether a version becomes the champion, and carry that out.

    A recorded decision holds as long as the test set and the champion are the ones that it was made with. Otherwise
    both versions go through the gate, and the decision is written to the version's tags.

    Args:
        model: The registered model.
        version: The challenger.
        test_set_sha256: The hash of the test set's manifest.
        gate: What the challenger must show.
        metric: The figure that ranks codecs, such as `psnr_db`.
        figures_of: Gives a version's figures on the test set; called only if a new decision is needed.
    """
    champion, recorded = model.alias(CHAMPION), _recorded(model, version)
    if (
        recorded is not None
        and recorded.test_set_sha256 == test_set_sha256
        and champion in (version, recorded.champion_after)
    ):
        return recorded
    challenger_figures = figures_of(version)
    champion_figures = None if champion is None else figures_of(champion)
    outcome: Literal["promoted", "kept champion", "unchanged"]
    if champion == version:
        outcome, why = "unchanged", f"version {version} is the champion already"
    elif "rolled_back" in model.tags(version):
        outcome, why = "kept champion", f"version {version} was rolled back; register another checkpoint to replace it"
    else:
        champion_point = None if champion_figures is None else _point(champion_figures, metric)
        outcome, why = challenge(_point(challenger_figures, metric), champion_point, gate, metric)
    promoted = outcome == "promoted"
    decision = PromotionDecision(
        outcome=outcome,
        why=why,
        test_set_sha256=test_set_sha256,
        challenger=challenger_figures,
        champion=None if champion is None else {"version": champion, **(champion_figures or {})},
        champion_after=version if promoted else champion,
        # A later decision on the champion itself must keep the version that a rollback restores.
        replaced=champion if promoted else recorded and recorded.replaced,
    )
    model.tag(version, decision=decision.model_dump_json())
    if promoted:
        model.point(CHAMPION, version)
    return decision


def roll_back(model: RegisteredModel) -> tuple[str, str]:
    """Make the version that the champion replaced the champion again.

    The former champion is tagged `rolled_back`, so that no later run promotes it again.

    Returns:
        The champion's version before and after.

    Raises:
        TrackingError: There is no champion, or it replaced none.
    """
    champion = model.alias(CHAMPION)
    if champion is None:
        raise TrackingError(f"{model.name} has no champion in {model.uri}")
    recorded = _recorded(model, champion)
    if recorded is None or recorded.replaced is None:
        raise TrackingError(f"{model.name} version {champion} is the first champion: there is no earlier one")
    model.tag(champion, rolled_back="true")
    model.point(CHAMPION, recorded.replaced)
    return champion, recorded.replaced


def _point(figures: Figures, metric: str) -> RateAndQuality:
    return RateAndQuality(figures["bpp"], figures[metric])


def _recorded(model: RegisteredModel, version: str) -> PromotionDecision | None:
    text = model.tags(version).get("decision")
    return None if text is None else PromotionDecision.model_validate_json(text)
