"""The stage `register`: the leaderboard's winner into the registry, and the champion's alias through the gate.

It runs on every `dvc repro`, asks the registry what is already done, and does the rest: nothing, mostly.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import RatewrightError
from components.evaluation.selection import Gate
from components.storage.atomic import read_json, write_json
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.entry import console, stage
from pipeline.paths import Layout
from pipeline.registry.models import CHALLENGER, CHAMPION, IDENTITY, RegisteredModel, checkpoint_of
from pipeline.registry.promotion import decide
from pipeline.registry.runs import Run
from pipeline.stages._data_set import pictures

ABOUT = ("codec", "variant", "start", "lmbda", "step", "training", "data_sha256", "git_commit")
"""Facts of a checkpoint that its release tells."""


@dataclass(frozen=True)
class _Candidate:
    """The winner: its checkpoint, what names it, its row on the leaderboard."""

    checkpoint: Path
    identity: str
    model_hash: str
    facts: dict[str, Any]
    row: dict[str, Any]


def run(root: Path) -> None:
    """Write registry.json; a repeated run finds the same record and writes the same bytes."""
    settings, layout = params.load(root), Layout(root)
    board = read_json(layout.leaderboard)
    model = RegisteredModel(root, settings.model_name)
    if board["winner"] is None:
        if any(row["kind"] == "learned" for row in board["rows"]):
            raise RatewrightError(f"nothing to register: {board['why']}")
        # Lossless codecs and baselines alone, which no target is set for.
        nothing = dict.fromkeys(("version", "challenger", "champion"))
        record = {"model": model.name, "aliases": model.aliases(), "decision": "unchanged", "why": board["why"]}
        record |= nothing
        write_json(layout.registry, record)
        console.print(f"register: nothing to register: {board['why']}, {layout.registry}")
        return
    candidate = _candidate(layout, board)
    version = model.version_of(candidate.identity)
    fresh = version is None
    if version is None:
        version = _add(root, layout, model, candidate, board)
    if model.alias(CHALLENGER) != version:
        model.point(CHALLENGER, version)
    gate = Gate(min_gain=settings.registry.min_gain, rate_slack=settings.registry.rate_slack)
    decision = decide(
        model,
        version,
        board["test_set_sha256"],
        gate,
        settings.selection.metric,
        lambda version: _figures_on_test_set(root, settings, model, version, board),
    )
    write_json(
        layout.registry,
        {
            "model": model.name,
            "version": version,
            "aliases": model.aliases(),
            "decision": decision.outcome,
            "why": decision.why,
            "challenger": {"version": version, **decision.challenger},
            "champion": decision.champion,
        },
    )
    done = "registered" if fresh else "nothing to do: already registered as"
    console.print(f"register: {done} {model.name} version {version}; {decision.outcome}: {decision.why}")
    console.print(f"register: champion is {model.name} version {model.alias(CHAMPION)}, {layout.registry}")


def _candidate(layout: Layout, board: dict[str, Any]) -> _Candidate:
    """Read what names the winner from calibration.json and leaderboard.json alone: torch is not needed for it."""
    name = board["winner"]
    facts = read_json(layout.calibration(name))
    row = next(row for row in board["rows"] if row["name"] == name)
    identity = f"{facts['model_hash']}:{facts['gain']}"
    return _Candidate(layout.calibrated(name), identity, facts["model_hash"], facts, row)


def _add(root: Path, layout: Layout, model: RegisteredModel, candidate: _Candidate, board: dict[str, Any]) -> str:
    from components.codecs.checkpoint import read_facts

    facts = read_facts(candidate.checkpoint)
    tags = {
        IDENTITY: candidate.identity,
        "model_hash": candidate.model_hash,
        "codec": facts["codec"],
        "git_commit": facts["git_commit"] or "",
        "data_sha256": facts["data_sha256"],
        "lmbda": repr(facts["lmbda"]),
        "gain": repr(candidate.facts["gain"]),
        "target_bpp": repr(board["target_bpp"]),
        "calibrated_bpp": repr(facts["calibrated_bpp"]),
        _point_tag(board): json.dumps(_figures(candidate.row, board)),
    }
    about = {key: facts.get(key) for key in ABOUT}
    with Run(root, f"release {board['winner']}", candidate.identity, about) as release:
        release.log_row({"step": 0, **{k: v for k, v in candidate.row.items() if isinstance(v, (int, float))}})
        release.log_folder(layout.report, "report")
        return model.add(candidate.checkpoint, release.id, tags)


def _figures_on_test_set(
    root: Path, settings: Params, model: RegisteredModel, version: str, board: dict[str, Any]
) -> dict[str, Any]:
    """A version's bpp and quality at the target on the pinned test set: from its tags, or measured now.

    A champion of other days was measured on the test set of those days; it is only compared on today's.
    """
    tag = _point_tag(board)
    known = model.tags(version).get(tag)
    if known is not None:
        return dict(json.loads(known))
    from components.codecs.checkpoint import load
    from components.codecs.coder import LearnedCoder
    from components.evaluation.measure import measure
    from components.evaluation.results import summarise
    from components.rate.gain_search import gain_at

    console.print(f"register: measuring {model.name} version {version} on {board['test_set']}")
    codec, _ = load(checkpoint_of(root, f"models:/{model.name}/{version}"))
    originals = list(pictures(Layout(root).raw(settings.data.test)))
    gain = gain_at(codec, [rgb for _, rgb in originals], board["target_bpp"], settings.registry.rate_slack)
    figures = _figures(summarise(measure(LearnedCoder(codec, gain), originals)).model_dump(), board)
    model.tag(version, **{tag: json.dumps(figures)})
    return figures


def _figures(point: dict[str, Any], board: dict[str, Any]) -> dict[str, Any]:
    return {"bpp": point["bpp"], board["metric"]: point[board["metric"]]}


def _point_tag(board: dict[str, Any]) -> str:
    """The tag that holds a version's figures on this test set, by this metric, at the target."""
    return f"at_target.{board['metric']}.{board['test_set_sha256'][:16]}"


if __name__ == "__main__":
    stage(run)
