"""The stage `register`: the leaderboard's winner into the model registry, and its promotion if it passes the gate.

It runs on every `dvc repro`, asks the registry what is done already, and does what is missing, which mostly is nothing.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.documents import Calibration, Leaderboard, RegistryRecord, read, write
from pipeline.documents.leaderboard import RankedRow
from pipeline.documents.registry import FiguresOnTestSet, VersionFigures
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.registry.models import CHALLENGER, CHAMPION, IDENTITY, RegisteredModel
from pipeline.registry.promotion import Comparison, PromotionDecision, decide
from pipeline.registry.runs import DataInput, Run
from pipeline.stages._challenge import compare, figures_at_target, gate_sha256, measure_alone
from pipeline.stages._data_set import source_of

RELEASE_FACTS = ("codec", "variant", "start", "lmbda", "step", "training", "data_sha256", "git_commit")
"""Metadata of a checkpoint that the MLflow run of its release logs."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Winner:
    """The leaderboard's winner.

    Attributes:
        checkpoint: Its calibrated checkpoint.
        calibration: Content of calibration.json.
        row: Its row on the leaderboard.
    """

    checkpoint: Path
    calibration: Calibration
    row: RankedRow

    @property
    def identity(self) -> str:
        """What tells the checkpoint from any other: model hash and gain. It needs no torch to read."""
        return f"{self.calibration.model_hash}:{self.calibration.gain}"


def run(root: Path) -> None:
    """Write registry.json; a repeated run finds the same record and writes the same bytes."""
    settings, layout = params.load(root), Layout(root)
    board = read(Leaderboard, layout.leaderboard)
    model = RegisteredModel(root, settings.model_name)
    if board.winner is None:
        _record_no_winner(board, model, layout)
        return
    winner = _Winner(
        layout.calibrated(board.winner),
        read(Calibration, layout.calibration(board.winner)),
        next(row for row in board.rows if row.name == board.winner),
    )
    version = model.version_of(winner.identity)
    state = "registered" if version is None else "nothing to do: already registered as"
    if version is None:
        version = _add(root, layout, model, winner, board)
    if model.alias(CHALLENGER) != version:
        model.point(CHALLENGER, version)
    decision = decide(
        model,
        version,
        _test_set_sha256(board),
        gate_sha256(root, settings, model),
        settings.registry.shadow_runs,
        lambda challenger, champion: _compare(root, settings, model, challenger, champion, board),
    )
    _record(decision, version, model, layout)
    logger.info("register: %s %s version %s; %s: %s", state, model.name, version, decision.outcome, decision.why)
    logger.info("register: champion is %s version %s, %s", model.name, model.alias(CHAMPION), layout.registry)


def _record_no_winner(board: Leaderboard, model: RegisteredModel, layout: Layout) -> None:
    """Write registry.json of a run that compared lossless codecs and baselines alone: no target is set for them.

    Raises:
        RatewrightError: The run has learned lossy codecs, none of which met the target.
    """
    if any(row.kind == "learned" for row in board.rows):
        raise RatewrightError(f"nothing to register: {board.why}")
    record = RegistryRecord(
        model=model.name,
        version=None,
        aliases=model.aliases(),
        decision="unchanged",
        why=board.why,
        challenger=None,
        champion=None,
    )
    write(record, layout.registry)
    logger.info("register: nothing to register: %s, %s", board.why, layout.registry)


def _record(decision: PromotionDecision, version: str, model: RegisteredModel, layout: Layout) -> None:
    """Write registry.json."""
    record = RegistryRecord(
        model=model.name,
        version=version,
        aliases=model.aliases(),
        decision=decision.outcome,
        why=decision.why,
        challenger=VersionFigures(version=version, **dict(decision.challenger)),
        champion=decision.champion,
        rules=decision.rules,
    )
    write(record, layout.registry)


def _add(root: Path, layout: Layout, model: RegisteredModel, winner: _Winner, board: Leaderboard) -> str:
    """Register the winner with the report; returns its version."""
    from components.codecs.checkpoint import read_facts
    from pipeline.reporting.evidence import evidence_of_variant

    facts = read_facts(winner.checkpoint)
    tags = {
        IDENTITY: winner.identity,
        "model_hash": winner.calibration.model_hash,
        "codec": facts["codec"],
        "git_commit": facts["git_commit"] or "",
        "data_sha256": facts["data_sha256"],
        "lmbda": repr(facts["lmbda"]),
        "gain": repr(winner.calibration.gain),
        "target_bpp": repr(board.target_bpp),
        "calibrated_bpp": repr(facts["calibrated_bpp"]),
        _figures_tag(board): figures_at_target(winner.row, board.metric).model_dump_json(),
    }
    about = {key: facts.get(key) for key in RELEASE_FACTS}
    figures = {key: value for key, value in winner.row if isinstance(value, int | float)}
    settings = params.load(root)
    data = DataInput(board.test_set, _test_set_sha256(board), source_of(settings, board.test_set), "test")
    with Run(root, f"release {board.winner}", winner.identity, about, [data]) as release:
        release.log_row({"step": 0, **figures})
        release.log_folder(layout.report, "report")
        known = evidence_of_variant(root, settings.model_dump(), winner.row.name, facts["training"])
        return model.add(winner.checkpoint, release.id, tags, known)


def _compare(
    root: Path, settings: Params, model: RegisteredModel, version: str, champion: str | None, board: Leaderboard
) -> Comparison:
    """The figures of a version on the test set, or those of both versions, and the rules of the gate."""
    if champion is not None:
        return compare(root, settings, model, version, champion, board)
    known = model.tags(version).get(_figures_tag(board))
    if known is not None:
        return Comparison(FiguresOnTestSet.model_validate_json(known))
    return Comparison(measure_alone(root, settings, model, version, board))


def _figures_tag(board: Leaderboard) -> str:
    """The tag that holds a version's figures on this test set, by this metric, at the target."""
    return f"at_target.{board.metric}.{_test_set_sha256(board)[:16]}"


def _test_set_sha256(board: Leaderboard) -> str:
    assert board.test_set_sha256 is not None, "a winner was evaluated"
    return board.test_set_sha256


if __name__ == "__main__":
    stage(run)
