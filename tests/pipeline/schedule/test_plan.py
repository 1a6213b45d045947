"""Requests and plans as JSON."""

import pytest

from components.errors import RatewrightError
from pipeline.schedule.plan import Plan, Request, run_name

PLAN = Plan(
    run="one", branch="main", base="0" * 40, commit="1" * 40, default_params=True, stages={"train@wcae": ["shard@x"]}
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"variants": []}', "variants"),
        ('{"target_bpp": -1}', "target_bpp"),
        ('{"training_steps": 1.5}', "training_steps"),
        ('{"colour": 1}', "colour"),
        ("nonsense", "JSON"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(RatewrightError, match=reason) as refused:
        Request.parse(text)
    assert "\n" not in str(refused.value)


def test_a_request_of_nothing_uses_the_default_params() -> None:
    assert Request.parse('{"profile": null, "variants": null}').default_params
    assert not Request.parse('{"training_steps": 5}').default_params


def test_a_plan_survives_its_json_which_is_one_line() -> None:
    text = PLAN.model_dump_json()
    assert "\n" not in text
    assert Plan.parse(text) == PLAN
    with pytest.raises(RatewrightError, match=r"the run's plan: .*stages: Field required"):
        Plan.parse(text.replace("stages", "steps"))


def test_a_run_id_becomes_a_name_that_git_allows() -> None:
    assert run_name("manual__2026-11-21T03:00:00+00:00") == "manual-2026-11-21T03-00-00-00-00"
