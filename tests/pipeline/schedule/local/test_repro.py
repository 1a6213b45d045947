"""A parallel run on a small repository: what it leaves, compared with `dvc repro`; failures and time limits."""

import json
from pathlib import Path

import pytest

from tests.forks import Forks
from tests.pipeline.schedule.small_repository import SmallRepository

STAGES = """
  make:
    foreach: [b, a, c]
    do:
      cmd: sleep 0.$((RANDOM % 5)); cat source > out/${item}; echo ${item} >> out/${item}
      deps: [source]
      outs: ["out/${item}"]
  fixed:
    cmd: cat source > out/fixed
    frozen: true
    deps: [source]
    outs: [out/fixed]
  table:
    foreach:
      x: {from: a}
      y: {from: b}
    do:
      cmd: mkdir -p out/${key} && wc -c out/${item.from} > out/${key}/size && echo 1 > out/${key}/n.json
      params: [{params.json: [depth]}]
      deps: ["out/${item.from}"]
      outs: ["out/${key}/size"]
      metrics: ["out/${key}/n.json"]
  last:
    cmd: cat out/x/size out/y/size out/c > out/last
    deps: [out/x, out/y, out/c]
    outs: [out/last]
  always:
    cmd: wc -c out/last > out/always
    always_changed: true
    deps: [out/last]
    outs: [out/always]
"""


@pytest.fixture
def repository(tmp_path: Path, python: Forks) -> SmallRepository:
    made = SmallRepository(tmp_path / "parallel", STAGES, python)
    (made.root / "params.json").write_text('{"depth": 1}')
    (made.root / "out" / "fixed").write_text("by hand\n")
    return made


def test_it_leaves_what_dvc_repro_leaves(repository: SmallRepository, tmp_path: Path, python: Forks) -> None:
    single = SmallRepository(tmp_path / "single", STAGES, python)
    (single.root / "params.json").write_text('{"depth": 1}')
    (single.root / "out" / "fixed").write_text("by hand\n")

    def both() -> dict[str, str]:
        """Run both ways; returns how the stages of the parallel run ended."""
        done = repository.run(slots=3)
        assert (done.status, done.error) == (0, "")
        single.dvc("repro", "-q")
        assert repository.kept() == single.kept()
        return done.ended

    names = {"make@a", "make@b", "make@c", "table@x", "table@y", "last", "always", "fixed"}
    assert both() == dict.fromkeys(names, "ran") | {"fixed": "unchanged"}
    assert both() == {"always": "ran"}
    for each in (repository, single):
        (each.root / "source").write_text("two\n")
        (each.root / "out" / "c").unlink()
    assert both() == dict.fromkeys(names - {"fixed"}, "ran")
    for each in (repository, single):
        (each.root / "source").write_text("one\n")
    assert both() == dict.fromkeys(names - {"fixed", "always"}, "from the run cache") | {"always": "ran"}
    for each in (repository, single):
        each.write(STAGES.replace("[b, a, c]", "[b, d, a, c]"))
    assert both() == {"make@d": "ran", "always": "ran"}
    assert repository.dvc("status", "make", "table", "last") == single.dvc("status", "make", "table", "last")


def test_only_what_targets_need_is_looked_at(repository: SmallRepository) -> None:
    done = repository.run("table@x", "make@c", slots=1)
    assert set(done.ended) == {"make@a", "table@x", "make@c"}
    assert repository.run("table").unchanged == ["make@a", "table@x"]
    refused = repository.run("tables")
    assert refused.status == 2
    assert refused.error.startswith("error: dvc: ")
    assert "tables" in refused.error
    assert refused.error.count("\n") == 1


MEETING = """
  meet:
    foreach: [a, b]
    do:
      cmd: touch ${item}-came; until test -e a-came -a -e b-came; do sleep 0.05; done; echo ${item} > out/${item}
      outs: ["out/${item}"]
"""


def test_stages_run_side_by_side(tmp_path: Path, python: Forks) -> None:
    """Each of two stages waits for the other."""
    repository = SmallRepository(tmp_path / "repository", MEETING, python)
    done = repository.run(slots=2)
    assert done.ended == {"meet@a": "ran", "meet@b": "ran"}
    assert done.said[0] == "2 to look at, 2 at a time"
    assert sorted(done.said[1:3]) == ["started   meet@a", "started   meet@b"]
    assert done.said[3].startswith("finished  meet@")
    assert done.said[4].endswith("(2 of 2)")
    times = json.loads((repository.root / "work" / "repro" / "times.json").read_text())["stages"]
    assert sorted(each["slots"] for each in times.values()) == [[0], [1]]
    assert all(each["seconds"] > 0 for each in times.values())


FAILING = """
  good:
    cmd: echo a good line; echo 1 > out/good
    outs: [out/good]
  bad:
    cmd: "echo much before; echo 'error: no such luck' >&2; exit 2"
    deps: [out/good]
    outs: [out/bad]
  after:
    cmd: cat out/bad > out/after
    deps: [out/bad]
    outs: [out/after]
  apart:
    cmd: cat out/good > out/apart
    deps: [out/good]
    outs: [out/apart]
  silent:
    cmd: kill -9 $$
    deps: [out/apart]
    outs: [out/silent]
"""


def test_a_failed_stage_stops_what_is_not_started(tmp_path: Path, python: Forks) -> None:
    repository = SmallRepository(tmp_path / "repository", FAILING, python)
    repository.run("good")
    (repository.root / "work" / "repro" / "times.json").write_text(  # bad and after are the longest path
        json.dumps({"stages": {"bad": {"seconds": 90}, "after": {"seconds": 90}, "apart": {"seconds": 1}}})
    )
    done = repository.run(slots=1)
    assert done.ended == {"bad": "failed"}
    assert done.why == {"bad": "no such luck"}
    assert done.never_started == ["after", "apart", "silent"]
    assert repository.log("bad").splitlines()[-2:] == ["much before", "error: no such luck"]
    assert "a good line" in repository.log("good"), "the log of what ran before stays"
    done = repository.run(keep_going=True)
    assert done.ended == {"bad": "failed", "apart": "ran", "silent": "failed"}
    assert done.why["silent"] == "its command was killed by SIGKILL (no memory left?)"
    assert done.never_started == ["after"]
    assert repository.dvc("status", "good", "apart") == "Data and pipelines are up to date.\n"


HUNG = """
  hung:
    cmd: echo $$ > hung.pid; trap '' TERM; sleep 600; sleep 600
    meta: {longest_hours: 0.0003}
    outs: [out/hung]
"""


def test_a_stage_that_takes_too_long_is_stopped(tmp_path: Path, python: Forks) -> None:
    repository = SmallRepository(tmp_path / "repository", HUNG, python)
    repository.environment["RATEWRIGHT_GRACE_S"] = "1"
    done = repository.run()
    assert done.ended == {"hung": "failed"}
    assert done.why == {"hung": "it took longer than 0.0003 h (meta.longest_hours in dvc.yaml) and was stopped"}


def test_an_unknown_key_of_meta_is_named(tmp_path: Path, python: Forks) -> None:
    repository = SmallRepository(tmp_path / "repository", HUNG.replace("longest_hours", "longest"), python)
    done = repository.run()
    known = "accelerator, retries, longest_hours"
    assert (done.status, done.error) == (2, f"error: dvc.yaml: hung: meta.longest: unknown; there are {known}\n")
