"""A finished run in results/<name>/, as typed documents."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.codecs.checkpoint import read_facts
from components.training.callback import Validation
from pipeline.config import params
from pipeline.documents import Calibration, Evaluation, Leaderboard, RunRecord, read, read_by_name, read_lists
from pipeline.documents.base import text_of
from pipeline.documents.images import ImageRow, read_kept_images
from pipeline.documents.leaderboard import LossyRow, RankedRow
from pipeline.documents.run import Budget

CHAMPION = "champion.safetensors"
"""The winner's checkpoint in the folder of a run."""
HISTORIES = "histories.json"
"""The validations of every training in the folder of a run."""


@dataclass(frozen=True)
class KeptRun:
    """The record of a run that results/ keeps.

    Attributes:
        folder: results/<name>.
        board: The leaderboard.
        run: The machine, and the budget of each variant.
        evaluations: Codec -> its evaluation.
        calibrations: Variant -> its calibration.
        images: Codec -> its figures of every picture.
        histories: Variant -> the validations of its training; empty for a run that was kept before they were.
        lock: Stage -> its commands, parameters and hashes in dvc.lock.
        parameters: Content of params.yaml.
    """

    folder: Path
    board: Leaderboard
    run: RunRecord
    evaluations: dict[str, Evaluation]
    calibrations: dict[str, Calibration]
    images: dict[str, list[ImageRow]]
    histories: dict[str, list[Validation]]
    lock: dict[str, dict[str, Any]]
    parameters: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "KeptRun":
        """The run kept in `folder`. Raises RatewrightError where a file is missing or wrong."""
        yaml = YAML(typ="safe")
        return cls(
            folder,
            read(Leaderboard, folder / "leaderboard.json"),
            read(RunRecord, folder / "run.json"),
            read_by_name(Evaluation, folder / "evaluations.json"),
            read_by_name(Calibration, folder / "calibrations.json"),
            read_kept_images(folder / "images.csv"),
            read_lists(Validation, folder / HISTORIES) if (folder / HISTORIES).is_file() else {},
            yaml.load(text_of(folder / "dvc.lock"))["stages"],
            yaml.load(text_of(folder / params.FILE)),
        )

    @property
    def test_sets(self) -> tuple[str, str]:
        """The test set, and the calibration set, on which codecs are measured too."""
        return self.board.test_set, self.board.calibration.test_set

    @property
    def champion_facts(self) -> dict[str, Any] | None:
        """The facts of the winner's checkpoint; None for a run without a winner. Raises CheckpointError."""
        return None if self.board.winner is None else read_facts(self.folder / CHAMPION)

    def stage(self, kind: str, variant: str) -> str:
        """The stage `train`, `calibrate` or `evaluate` of a codec, by its name in dvc.lock."""
        if variant in self.parameters["baselines"]:
            return f"{kind}_baseline@{variant}"
        if variant not in self.parameters["fine_tuned"]:
            return f"{kind}@{variant}"
        return f"fine_tune@{variant}" if kind == "train" else f"{kind}_fine_tuned@{variant}"

    def locked_params(self, stage: str, file: str = params.FILE) -> dict[str, Any]:
        """Parameters that a stage ran with, from a file of params; empty for a stage that dvc.lock lacks."""
        found: dict[str, Any] = self.lock.get(stage, {}).get("params", {}).get(file, {})
        return found

    def rows(self) -> list[tuple[RankedRow, LossyRow, Budget | None]]:
        """For each lossy codec, best first: its row on the test set, on the calibration set, and its budget."""
        calibration = {row.name: row for row in self.board.calibration.rows}
        return [(row, calibration[row.name], self.run.variants.get(row.name)) for row in self.board.rows]


def kept_runs(root: Path) -> list[KeptRun]:
    """Every run that results/ keeps, by name."""
    return [KeptRun.read(path.parent) for path in sorted((root / "results").glob("*/leaderboard.json"))]
