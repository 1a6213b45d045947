from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.validation.duplicates import Pair
from components.data.validation.findings import CheckedSet, Finding, SetRole, check, named
from components.data.validation.rules import Action, ValidationRules
from components.data.validation.statistics import Drift
from tests.components.data.validation.made import TRAINING, bundled, jpeg, leak, measured, png
from tests.components.data.validation.test_features import page

DRIFT = Drift(
    since="one", pictures_before=9, added=1, removed=0, replaced=0, changed=0.1,
    distances={"grey": 0.3, "mean": 0.6}, significant=("grey",),
)  # fmt: skip


def checked(folder: Path, contents: dict[str, bytes], role: SetRole = "training", **more: Any) -> CheckedSet:
    more = {"unlicensed": (), "drift": None, **more}
    return CheckedSet(name=role, role=role, pictures=tuple(measured(folder, contents)), **more)


def rules(**changes: dict[str, Any]) -> ValidationRules:
    return ValidationRules.model_validate(changes)


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1
    return found[0]


@pytest.fixture
def plain(tmp_path: Path) -> CheckedSet:
    return checked(tmp_path / "plain", {name: png(bundled(name)) for name in TRAINING})


def test_photographs_break_no_rule(plain: CheckedSet) -> None:
    assert check(ValidationRules(), [plain], [], []) == []


BROKEN: dict[str, tuple[bytes, str]] = {
    "small": (
        png(leak(bundled("coffee.png"), scale=0.3)),
        "1 of 2 pictures small (shorter side below 128 pixels): odd",
    ),
    "flat": (
        png(np.full((200, 200, 3), 90, np.uint8)),
        "1 of 2 pictures blank (flat in more than 90% of their blocks): odd",
    ),
    "text": (png(page(14)), "1 of 2 pictures like print (in more than 15% of their blocks): odd"),
    "jpeg_quality": (jpeg(bundled("coffee.png"), 40), "1 of 2 pictures coarse JPEGs (quality below 70): odd"),
}


@pytest.mark.parametrize("action", ["warn", "fail", "off"])
@pytest.mark.parametrize("rule", BROKEN)
def test_a_picture_that_breaks_a_rule_is_named(rule: str, action: Action, tmp_path: Path) -> None:
    content, text = BROKEN[rule]
    one = checked(tmp_path, {"fine.png": png(bundled("rocket.jpg")), "odd": content})
    found = check(rules(**{rule: {"action": action}}, grey={"action": "off"}), [one], [], [])
    if action == "off":
        assert found == []
    else:
        assert only(found) == Finding(rule=rule, action=action, data_set="training", text=text, pictures=("odd",))


def test_a_set_that_is_mostly_grey_is_named(tmp_path: Path) -> None:
    grey = {name: png(bundled(name)) for name in ("camera.png", "grass.png")}
    coloured = {name: png(bundled(name)) for name in ("coffee.png", "rocket.jpg")}
    assert check(ValidationRules(), [checked(tmp_path / "half", {**grey, **coloured})], [], []) == []
    most = checked(tmp_path / "most", {**grey, "coffee.png": coloured["coffee.png"]})
    assert only(check(ValidationRules(), [most], [], [])).text == "2 of 3 pictures grey: camera.png, grass.png"


def test_missing_licences_are_told(plain: CheckedSet) -> None:
    without = plain.model_copy(update={"unlicensed": TRAINING})
    found = only(check(ValidationRules(), [without], [], []))
    assert found.rule == "licence"
    assert found.text.endswith("rocket.jpg, motorcycle_left.png, hubble_deep_field.jpg and 3 more")
    assert check(rules(licence={"action": "off"}), [without], [], []) == []


@pytest.mark.parametrize(
    ("change", "limit", "broken"),
    [
        ({}, {}, True),
        ({}, {"distance": 0.3}, False),
        ({"significant": ()}, {}, False),
        ({"significant": (), "changed": 0.7}, {}, True),
        ({"significant": (), "changed": 0.7}, {"changed": 0.7}, False),
        ({}, {"action": "off"}, False),
    ],
)
def test_drift_breaks_its_rule_beyond_both_limits_alone(
    plain: CheckedSet, change: dict[str, Any], limit: dict[str, Any], broken: bool
) -> None:
    moved = plain.model_copy(update={"drift": DRIFT.model_copy(update=change)})
    found = check(rules(drift=limit), [moved], [], [])
    assert [each.rule for each in found] == (["drift"] if broken else [])


def test_pairs_are_named_with_the_gravest_first(plain: CheckedSet, tmp_path: Path) -> None:
    test = checked(tmp_path / "test", {"a.png": png(bundled("chelsea.png"))}, "test", unlicensed=("a.png",))
    leaks = named([Pair(0, 0, "part", 0.9), Pair(3, 0, "file", 1.0)], plain, test)
    twice = named([Pair(1, 2, "near", 0.9)], plain, plain)
    found = check(rules(duplicate={"action": "fail"}), [plain, test], leaks, twice)
    assert [(each.rule, each.action) for each in found] == [
        ("leak", "fail"),
        ("duplicate", "fail"),
        ("licence", "warn"),
    ]
    assert found[0].text == "2 pairs of pictures of test in it: rocket.jpg shows a part of a.png, ihc.png is a.png"
    assert found[0].pictures == ("rocket.jpg", "ihc.png")
    assert found[1].text == "1 pair of equal pictures: motorcycle_left.png shows hubble_deep_field.jpg"
