"""Promotion and rollback: which version of a registered model is the champion, and the recorded reason."""

from collections.abc import Callable

from pydantic import BaseModel, ValidationError

from components.evaluation.selection import Gate, RateAndQuality, challenge
from pipeline.documents.registry import FiguresOnTestSet, Outcome, VersionFigures
from pipeline.registry.client import TrackingError
from pipeline.registry.models import CHAMPION, RegisteredModel


class PromotionDecision(BaseModel):
    """The decision on a challenger, as its version's tag `decision` keeps it."""

    outcome: Outcome
    why: str
    """The reason with its numbers."""
    test_set_sha256: str
    """The test set that both versions were measured on."""
    challenger: FiguresOnTestSet
    """The figures of the version that the decision is on."""
    champion: VersionFigures | None
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
    figures_of: Callable[[str], FiguresOnTestSet],
) -> PromotionDecision:
    """Decide whether a version becomes the champion, and carry that out.

    A recorded decision holds as long as the test set and the champion are the ones that it was made with. Otherwise
    both versions go through the gate, and the decision is written to the version's tags.

    Args:
        model: The registered model.
        version: The challenger.
        test_set_sha256: The hash of the test set's manifest.
        gate: The improvement that the gate demands.
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
    challenger = figures_of(version)
    current = None if champion is None else VersionFigures(version=champion, **dict(figures_of(champion)))
    outcome, why = _judge(model, version, challenger, current, gate, metric)
    promoted = outcome == "promoted"
    decision = PromotionDecision(
        outcome=outcome,
        why=why,
        test_set_sha256=test_set_sha256,
        challenger=challenger,
        champion=current,
        champion_after=version if promoted else champion,
        # A later decision on the champion itself must keep the version that a rollback restores.
        replaced=champion if promoted else recorded and recorded.replaced,
    )
    model.tag(version, decision=decision.model_dump_json())
    if promoted:
        model.point(CHAMPION, version)
    return decision


def _judge(
    model: RegisteredModel,
    version: str,
    challenger: FiguresOnTestSet,
    champion: VersionFigures | None,
    gate: Gate,
    metric: str,
) -> tuple[Outcome, str]:
    """The outcome for a version, and its reason."""
    if champion is not None and champion.version == version:
        return "unchanged", f"version {version} is the champion already"
    if "rolled_back" in model.tags(version):
        return "kept champion", f"version {version} was rolled back; register another checkpoint to replace it"
    return challenge(_point(challenger, metric), None if champion is None else _point(champion, metric), gate, metric)


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


def _point(figures: FiguresOnTestSet, metric: str) -> RateAndQuality:
    return RateAndQuality(figures.bpp, getattr(figures, metric))


def _recorded(model: RegisteredModel, version: str) -> PromotionDecision | None:
    text = model.tags(version).get("decision")
    try:
        return None if text is None else PromotionDecision.model_validate_json(text)
    except ValidationError as error:
        raise TrackingError(f"{model.name} version {version}: its tag `decision` is no decision: {text!r}") from error
