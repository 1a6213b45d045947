"""What breaks the rules: one finding for each rule and data set."""

from collections.abc import Iterator, Sequence
from typing import Literal

from ...settings import Settings
from .duplicates import How, Pair
from .picture import Picture
from .rules import Action, ValidationRules
from .statistics import Drift

NAMED = 3
"""Pictures that a finding's line names, at the most."""

_GREY = 0.99  # share of a grey picture's pixels without colour
_SHARED = {"file": "is", "pixels": "has all pixels of", "near": "shows", "part": "shows a part of"}

SetRole = Literal["training", "calibration", "test"]


class Finding(Settings):
    """Something that breaks a rule."""

    rule: str
    """The rule: a key of `validation` in params.yaml."""
    action: Action
    """What it does."""
    data_set: str
    """The data set."""
    text: str
    """What is wrong, in one line that names the first pictures."""
    pictures: tuple[str, ...]
    """The pictures, the most unusual first; none where it is the set as a whole."""


class SamePictures(Settings):
    """Two pictures that show the same."""

    first_set: str
    """The data set of the first one: the training data, if one of both is."""
    first: str
    """File name."""
    second_set: str
    """The data set of the second one."""
    second: str
    """File name."""
    how: How
    """What they share: their file, all pixels, the whole picture, or a part of it."""
    correlation: float
    """Of their aligned pixels, -1 to 1."""

    def __str__(self) -> str:
        return f"{self.first} {_SHARED[self.how]} {self.second}"


class CheckedSet(Settings, arbitrary_types_allowed=True):
    """A data set with what the rules need of it."""

    name: str
    """The data set."""
    role: SetRole
    """What it is for."""
    pictures: tuple[Picture, ...]
    """Its pictures."""
    unlicensed: tuple[str, ...]
    """Pictures without a licence, or without the credit that it asks for."""
    drift: Drift | None
    """How it differs from the revision before; None where none was measured."""


def named(pairs: Sequence[Pair], first: CheckedSet, second: CheckedSet) -> list[SamePictures]:
    """Pairs of two sets with the names of their pictures."""
    return [
        SamePictures(
            first_set=first.name,
            first=first.pictures[pair.first].name,
            second_set=second.name,
            second=second.pictures[pair.second].name,
            how=pair.how,
            correlation=pair.correlation,
        )
        for pair in pairs
    ]


def check(
    rules: ValidationRules, sets: Sequence[CheckedSet], leaks: Sequence[SamePictures], twice: Sequence[SamePictures]
) -> list[Finding]:
    """What breaks the rules that are not off, the gravest first.

    Args:
        rules: the rules.
        sets: the training data first.
        leaks: held-out pictures in the training data.
        twice: other pictures that are there twice.
    """
    found = [*_same("leak", rules, leaks), *_same("duplicate", rules, twice)]
    for one in sets:
        found += _of_set(rules, one)
    kept = [finding for finding in found if finding.action != "off"]
    return sorted(kept, key=lambda finding: finding.action != "fail")


def _same(rule: str, rules: ValidationRules, pairs: Sequence[SamePictures]) -> Iterator[Finding]:
    for first_set, second_set in dict.fromkeys((pair.first_set, pair.second_set) for pair in pairs):
        these = [pair for pair in pairs if (pair.first_set, pair.second_set) == (first_set, second_set)]
        what = "equal pictures" if first_set == second_set else f"pictures of {second_set} in it"
        pairs_of = f"{len(these)} {'pair' if len(these) == 1 else 'pairs'} of {what}"
        text = f"{pairs_of}: {_first([str(pair) for pair in these])}"
        yield Finding(
            rule=rule,
            action=rules.action_of(rule),
            data_set=first_set,
            text=text,
            pictures=tuple(dict.fromkeys(pair.first for pair in these)),
        )


def _of_set(rules: ValidationRules, one: CheckedSet) -> Iterator[Finding]:
    def finding(rule: str, text: str, pictures: Sequence[str]) -> Finding:
        action = rules.action_of(rule)
        return Finding(rule=rule, action=action, data_set=one.name, text=text, pictures=tuple(pictures))

    def unusual(rule: str, values: dict[str, float], what: str, limit: str) -> Iterator[Finding]:
        """Pictures by a figure, the smallest first."""
        if values:
            ordered = sorted(values, key=lambda name: (values[name], name))
            yield finding(rule, f"{_of(len(values), one)} {what} ({limit}): {_first(ordered)}", ordered)

    features = {picture.name: picture.features for picture in one.pictures}
    sides = {name: min(each.width, each.height) for name, each in features.items()}
    small = {name: float(side) for name, side in sides.items() if side < rules.small.shorter_side}
    yield from unusual("small", small, "small", f"shorter side below {rules.small.shorter_side} pixels")
    flat = {name: -each.flat for name, each in features.items() if each.flat > rules.flat.share}
    yield from unusual("flat", flat, "blank", f"flat in more than {rules.flat.share:.0%} of their blocks")
    text = {name: -each.text for name, each in features.items() if each.text > rules.text.share}
    yield from unusual("text", text, "like print", f"in more than {rules.text.share:.0%} of their blocks")
    qualities = {name: float(each.jpeg_quality) for name, each in features.items() if each.jpeg_quality is not None}
    coarse = {name: quality for name, quality in qualities.items() if quality < rules.jpeg_quality.least}
    yield from unusual("jpeg_quality", coarse, "coarse JPEGs", f"quality below {rules.jpeg_quality.least}")
    grey = [name for name, each in features.items() if each.grey >= _GREY]
    if len(grey) > rules.grey.share * len(features):
        yield finding("grey", f"{_of(len(grey), one)} grey: {_first(grey)}", grey)
    if one.unlicensed:
        text_of = f"{_of(len(one.unlicensed), one)} without a licence, or the credit that it asks for"
        yield finding("licence", f"{text_of}: {_first(one.unlicensed)}", one.unlicensed)
    moved = one.drift
    if moved is not None and (
        moved.changed > rules.drift.changed
        or any(moved.distances[figure] > rules.drift.distance for figure in moved.significant)
    ):
        yield finding("drift", str(moved), ())


def _of(count: int, one: CheckedSet) -> str:
    return f"{count} of {len(one.pictures)} pictures"


def _first(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
