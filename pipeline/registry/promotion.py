"""Promotion and rollback: which version of a registered model is the champion, and the recorded reason."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from components.evaluation.gate import JudgedRule
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
    gate_sha256: str | None = None
    """The rules and regression pictures; null for a decision that was made before there were any."""
    challenger: FiguresOnTestSet
    """The figures of the version that the decision is on."""
    champion: VersionFigures | None
    """Version and figures of the champion before the decision."""
    champion_after: str | None
    """The champion's version after the decision."""
    rules: tuple[JudgedRule, ...] = ()
    """Every rule of the gate, judged."""
    passed_before: int = 0
    """Earlier runs in which the version passed the gate in shadow."""
    replaced: str | None = None
    """The version that a rollback of this one restores."""


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same pictures.

    Attributes:
        challenger: The challenger's figures on the test set.
        champion: The champion's; None where there is none.
        rules: Every rule of the gate, judged; none without a champion.
    """

    challenger: FiguresOnTestSet
    champion: FiguresOnTestSet | None = None
    rules: tuple[JudgedRule, ...] = ()


def decide(
    model: RegisteredModel,
    version: str,
    test_set_sha256: str,
    gate_sha256: str,
    shadow_runs: int,
    compare: Callable[[str, str | None], Comparison],
) -> PromotionDecision:
    """Decide whether a version becomes the champion, and carry that out.

    A recorded decision holds as long as test set, rules, regression pictures and champion are the ones that it was made
    with, but for a version in shadow, which every run measures anew. Otherwise both versions go through the gate, and
    the decision is written to the version's tags.

    Args:
        model: The registered model.
        version: The challenger.
        test_set_sha256: The hash of the test set's manifest.
        gate_sha256: The hash of the rules and of the regression pictures.
        shadow_runs: Runs that a challenger must pass before the one in which it may win.
        compare: Measures a version, and the champion unless that is None or the version itself; called only if a new
            decision is needed.
    """
    champion, recorded = model.alias(CHAMPION), _recorded(model, version)
    same_champion = recorded is not None and champion in (version, recorded.champion_after)
    in_shadow = recorded is not None and recorded.outcome == "in shadow"
    made_with = None if recorded is None else (recorded.test_set_sha256, recorded.gate_sha256 or gate_sha256)
    if recorded is not None and same_champion and made_with == (test_set_sha256, gate_sha256) and not in_shadow:
        return recorded
    passed_before = recorded.passed_before + 1 if recorded is not None and same_champion and in_shadow else 0
    found = compare(version, None if champion == version else champion)
    outcome, why = _judge(model, version, champion, found, passed_before, shadow_runs)
    promoted = outcome == "promoted"
    decision = PromotionDecision(
        outcome=outcome,
        why=why,
        test_set_sha256=test_set_sha256,
        gate_sha256=gate_sha256,
        challenger=found.challenger,
        champion=_of_version(champion, found.challenger if champion == version else found.champion),
        champion_after=version if promoted else champion,
        rules=found.rules,
        passed_before=passed_before,
        # A later decision on the champion itself must keep the version that a rollback restores.
        replaced=champion if promoted else recorded and recorded.replaced,
    )
    model.tag(version, decision=decision.model_dump_json())
    if promoted:
        model.point(CHAMPION, version)
    return decision


def _of_version(version: str | None, figures: FiguresOnTestSet | None) -> VersionFigures | None:
    return None if version is None or figures is None else VersionFigures(version=version, **dict(figures))


def _judge(
    model: RegisteredModel,
    version: str,
    champion: str | None,
    found: Comparison,
    passed_before: int,
    shadow_runs: int,
) -> tuple[Outcome, str]:
    """The outcome for a version, and its reason."""
    if champion == version:
        return "unchanged", f"version {version} is the champion already"
    if "rolled_back" in model.tags(version):
        return "kept champion", f"version {version} was rolled back; register another checkpoint to replace it"
    if champion is None:
        return "promoted", f"there was no champion; the challenger has {found.challenger}"
    if broken := [rule for rule in found.rules if not rule.passed]:
        return "kept champion", "; ".join(f"{rule.rule}: {rule.text}" for rule in broken)
    shown = "; ".join(f"{rule.rule}: {rule.text}" for rule in found.rules)
    if passed_before < shadow_runs:
        return "in shadow", f"it passed the gate in run {passed_before + 1} of {shadow_runs + 1}: {shown}"
    return "promoted", f"no rule is broken: {shown}"


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


def _recorded(model: RegisteredModel, version: str) -> PromotionDecision | None:
    text = model.tags(version).get("decision")
    try:
        return None if text is None else PromotionDecision.model_validate_json(text)
    except ValidationError as error:
        raise TrackingError(f"{model.name} version {version}: its tag `decision` is no decision: {text!r}") from error
