"""The loop of the local runner, on stages that take turns of a clock that nobody waits for."""

from collections.abc import Collection, Mapping, Sequence

import pytest

from pipeline.schedule.local.critical_path import longest_paths
from pipeline.schedule.local.runner import Demand, LocalRunner, Outcome, Result
from pipeline.schedule.stage_nodes import StageNode

GOOD = Outcome(Result.RAN)
BAD = Outcome(Result.FAILED, why="no luck")


class TurnsJob:
    """Ends after some turns of the clock, or as it is told to."""

    def __init__(self, turns: int, outcome: Outcome):
        self._turns, self._outcome = turns, outcome
        self.told: list[str] = []

    def poll(self) -> Outcome | None:
        if self.told:
            return Outcome(Result.STOPPED) if self.told[-1] == "kill" or self._outcome.good else None
        self._turns -= 1
        return self._outcome if self._turns <= 0 else None

    def stop(self) -> None:
        self.told.append("stop")

    def kill(self) -> None:
        self.told.append("kill")


class Machine:
    """Starts such stages and writes down what happens."""

    def __init__(self, turns: Mapping[str, int], ends: Mapping[str, Outcome] | None = None):
        self._turns, self._ends = turns, ends or {}
        self.clock = 0
        self.jobs: dict[str, TurnsJob] = {}
        self.events: list[tuple[int, str, str]] = []
        self.slots: dict[str, list[int]] = {}
        self.most = 0

    def start(self, node: StageNode) -> TurnsJob:
        self.jobs[node.name] = TurnsJob(self._turns[node.name], self._ends.get(node.name, GOOD))
        return self.jobs[node.name]

    def pause(self) -> None:
        self.clock += 1

    def started(self, node: StageNode, slots: Sequence[int]) -> None:
        self.events.append((self.clock, "started", node.name))
        self.slots[node.name] = list(slots)

    def ended(self, node: StageNode, outcome: Outcome) -> None:
        self.events.append((self.clock, outcome.result.value, node.name))

    def looked(self, running: Collection[str]) -> None:
        self.most = max(self.most, len(running))

    def when(self, what: str) -> dict[str, int]:
        """Name -> the turn in which it `what`."""
        return {name: clock for clock, event, name in self.events if event == what}


def runner(
    nodes: Sequence[StageNode],
    machine: Machine,
    capacity: Demand,
    demands: Mapping[str, Demand] | None = None,
    *,
    keep_going: bool = False,
) -> LocalRunner:
    turns = {name: float(each) for name, each in machine._turns.items()}
    return LocalRunner(nodes, longest_paths(nodes, turns), capacity, demands or {}, keep_going=keep_going)


DIAMOND = [
    StageNode("first", ("outside",)),
    StageNode("short", ("first",)),
    StageNode("alone", ("first",)),
    StageNode("long", ("first",)),
    StageNode("last", ("long", "short")),
]
TURNS = {"first": 1, "short": 2, "alone": 2, "long": 9, "last": 3}


@pytest.mark.parametrize(("slots", "longest"), [(1, 17), (2, 13), (8, 13)])
def test_the_longest_path_is_started_first(slots: int, longest: int) -> None:
    machine = Machine(TURNS)
    outcomes = runner(DIAMOND, machine, Demand(slots)).run(machine.start, machine, machine.pause)
    assert {name: outcome.good for name, outcome in outcomes.items()} == dict.fromkeys(TURNS, True)
    started, ended = machine.when("started"), machine.when("ran")
    for node in DIAMOND[1:]:
        assert all(ended[above] <= started[node.name] for above in node.upstream)
    assert started["long"] <= min(started["short"], started["alone"])
    assert machine.clock == longest
    assert machine.most <= slots


def test_slots_have_numbers_that_no_two_running_stages_share() -> None:
    machine = Machine(dict.fromkeys("abcd", 3) | {"wide": 3})
    nodes = [StageNode(name, ()) for name in ("a", "b", "wide", "c", "d")]
    demands = {"wide": Demand(slots=2)}
    runner(nodes, machine, Demand(3), demands).run(machine.start, machine, machine.pause)
    assert sorted({slot for slots in machine.slots.values() for slot in slots}) == [0, 1, 2]
    started, ended = machine.when("started"), machine.when("ran")
    for one in started:
        for other in started:
            if one < other and started[one] < ended[other] and started[other] < ended[one]:
                assert not {*machine.slots[one]} & {*machine.slots[other]}
    assert len(machine.slots["wide"]) == 2


def test_a_stage_that_waits_for_a_gpu_does_not_hold_up_the_others() -> None:
    nodes = [StageNode(name, (), accelerator=name != "cpu") for name in ("one", "two", "cpu")]
    machine = Machine({"one": 5, "two": 5, "cpu": 1})
    demands = {"one": Demand(gpus=1), "two": Demand(gpus=1)}
    runner(nodes, machine, Demand(4, gpus=1), demands).run(machine.start, machine, machine.pause)
    assert machine.when("started") == {"one": 0, "cpu": 0, "two": 5}


def test_a_demand_beyond_the_machine_gets_all_of_it() -> None:
    machine = Machine({"big": 1})
    nodes = [StageNode("big", ())]
    demands = {"big": Demand(slots=64, gpus=8)}
    outcomes = runner(nodes, machine, Demand(2, gpus=1), demands).run(machine.start, machine, machine.pause)
    assert outcomes["big"].good
    assert machine.slots["big"] == [0, 1]


def test_a_failure_stops_the_start_of_others_and_lets_what_runs_end() -> None:
    machine = Machine(TURNS, {"short": BAD})
    run = runner(DIAMOND, machine, Demand(2))
    outcomes = run.run(machine.start, machine, machine.pause)
    assert {name for name, outcome in outcomes.items() if outcome.good} == {"first", "long"}
    assert outcomes["short"].why == "no luck"
    assert run.never_started() == ["alone", "last"]


def test_keep_going_starts_what_does_not_need_the_failed_stage() -> None:
    machine = Machine(TURNS, {"long": BAD})
    run = runner(DIAMOND, machine, Demand(2), keep_going=True)
    outcomes = run.run(machine.start, machine, machine.pause)
    assert {name for name, outcome in outcomes.items() if outcome.good} == {"first", "short", "alone"}
    assert run.never_started() == ["last"]


def test_a_request_to_stop_stops_what_runs_and_a_second_one_kills() -> None:
    machine = Machine(dict.fromkeys("abc", 50), {"b": BAD})  # b does not stop until it is killed
    nodes = [StageNode(name, ()) for name in "abc"]
    requests = iter([0, 0, 1, 1, 1, 2])
    run = runner(nodes, machine, Demand(2))
    outcomes = run.run(machine.start, machine, machine.pause, lambda: next(requests, 2))
    assert {name: outcome.result for name, outcome in outcomes.items()} == dict.fromkeys("ab", Result.STOPPED)
    assert machine.jobs["a"].told == ["stop"]
    assert machine.jobs["b"].told == ["stop", "kill"]
    assert run.never_started() == ["c"]


def test_a_stage_that_cannot_be_started_has_failed() -> None:
    machine = Machine({"a": 1, "b": 1, "c": 1})

    def start(node: StageNode) -> TurnsJob:
        if node.name == "a":
            raise OSError(28, "No space left on device")
        return machine.start(node)

    nodes = [StageNode("a", ()), StageNode("b", ()), StageNode("c", ("a",))]
    outcomes = runner(nodes, machine, Demand(1), keep_going=True).run(start, machine, machine.pause)
    assert outcomes["a"].why == "it could not be started: [Errno 28] No space left on device"
    assert outcomes["b"].good
    assert "c" not in outcomes
