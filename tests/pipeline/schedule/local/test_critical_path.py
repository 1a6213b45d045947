"""Priorities and times from earlier runs."""

from pipeline.schedule.local.critical_path import UNKNOWN_S, estimates, longest_paths, seconds_left
from pipeline.schedule.stage_nodes import StageNode

NODES = [
    StageNode("fetch@a", ()),
    StageNode("train@long", ("fetch@a",)),
    StageNode("train@short", ("fetch@a",)),
    StageNode("evaluate@long", ("train@long",)),
    StageNode("choose", ("evaluate@long", "train@short")),
]


def test_a_stage_takes_its_own_time_or_that_of_its_siblings() -> None:
    found = estimates(NODES, {"fetch@a": 2.0, "train@long": 30.0, "train@gone": 10.0})
    assert found == {
        "fetch@a": 2.0,
        "train@long": 30.0,
        "train@short": 20.0,
        "evaluate@long": 10.0,
        "choose": 10.0,
    }
    assert set(estimates(NODES, {}).values()) == {UNKNOWN_S}


def test_the_longest_path_counts_the_stage_and_all_that_waits_for_it() -> None:
    estimate = {"fetch@a": 1.0, "train@long": 30.0, "train@short": 5.0, "evaluate@long": 4.0, "choose": 2.0}
    assert longest_paths(NODES, estimate) == {
        "fetch@a": 37.0,
        "train@long": 36.0,
        "train@short": 7.0,
        "evaluate@long": 6.0,
        "choose": 2.0,
    }
    assert longest_paths(NODES[1:], estimate)["train@long"] == 36.0, "upstream that is done does not count"


def test_the_time_left_is_bounded_by_the_path_and_by_the_work() -> None:
    estimate = {"fetch@a": 1.0, "train@long": 30.0, "train@short": 5.0, "evaluate@long": 4.0, "choose": 2.0}
    assert seconds_left(NODES, estimate, {}, slots=8) == 37.0
    assert seconds_left(NODES, estimate, {}, slots=1) == 42.0
    assert seconds_left(NODES[1:], estimate, {"train@long": 20.0}, slots=2) == 16.0
    assert seconds_left(NODES[4:], estimate, {"choose": 60.0}, slots=2) == 0.0
    assert seconds_left([], estimate, {}, slots=2) == 0.0
