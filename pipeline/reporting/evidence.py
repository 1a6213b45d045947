"""What a run knows of a trained codec, for its model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.codecs.model_card import DataSet, Evidence, Figure, Measured
from components.evaluation.paired import paired_difference
from components.storage.atomic import read_json
from pipeline.documents import Evaluation, read
from pipeline.documents.images import ImageRow, Label, read_images
from pipeline.paths import CHECKOUT, Layout
from pipeline.registry.runs import training_seconds
from pipeline.reporting.archive import CHAMPION, KeptRun

WATTS_PER_CORE = 12.5
"""Estimate of what a busy core draws: its share of a processor of 56 cores and 350 W (Intel Xeon Platinum 8480+), and
as much again for memory, fans and the losses of the power supply."""
RATES: Mapping[Label, str] = {"as_calibrated": "as calibrated", "at_target": "the target on this set"}
ROLES = {"train": "training"}


def core_hours(seconds: float, threads: int) -> float:
    """Hours of a training times the cores that it was given."""
    return seconds / 3600 * threads


def kilowatt_hours(hours: float) -> float:
    """Estimate of the energy of these core-hours."""
    return hours * WATTS_PER_CORE / 1000


def evidence_of_variant(root: Path, parameters: Mapping[str, Any], variant: str, training: str) -> Evidence:
    """Of a variant that the checkout's last run evaluated.

    Args:
        root: The checkout.
        parameters: Content of params.yaml.
        variant: Its name.
        training: The identity of its training, as the checkpoint has it.
    """
    layout = Layout(root)
    evaluation = read(Evaluation, layout.metrics(variant))
    rows = read_images(layout.evaluation(variant) / "images.csv")
    elsewhere = parameters["launcher"] != "local" or torch.cuda.is_available()  # what that drew is not known
    return _evidence(root, parameters, evaluation, rows, training_seconds(root, training), elsewhere)


def evidence_of_checkpoint(checkpoint: Path) -> Evidence | None:
    """Of the winner of a kept run; None for any other checkpoint."""
    folder = checkpoint.resolve().parent
    if checkpoint.name != CHAMPION or not (folder / "leaderboard.json").is_file():
        return None
    kept = KeptRun.read(folder)
    winner = kept.board.winner
    if winner is None:
        return None
    budget, on_gpu = kept.run.variants[winner], bool(kept.run.machine.gpus)
    evaluation, rows = kept.evaluations[winner], kept.images[winner]
    return _evidence(CHECKOUT, kept.parameters, evaluation, rows, budget.training_s, on_gpu)


def _evidence(
    root: Path,
    parameters: Mapping[str, Any],
    evaluation: Evaluation,
    rows: Sequence[ImageRow],
    training_s: float | None,
    elsewhere: bool,
) -> Evidence:
    hours = None if training_s is None or elsewhere else core_hours(training_s, parameters.get("threads", 1))
    return Evidence(
        target_bpp=evaluation.target_bpp,
        training_s=training_s,
        energy_kwh=None if hours is None else kilowatt_hours(hours),
        data=[
            each
            for role, name in parameters["data"].items()
            for each in _data_sets(root, ROLES.get(role, role), name, parameters["datasets"][name])
        ],
        measured=[found for name in evaluation.test_sets for label in RATES if (found := _measured(name, label, rows))],
    )


def _data_sets(root: Path, role: str, name: str, definition: Mapping[str, Any]) -> list[DataSet]:
    """A data set, or the sets that it joins, with what its manifests say."""
    manifests = definition.get("manifest") or []
    paths = [root / path for path in ([manifests] if isinstance(manifests, str) else manifests)]
    if not paths:
        return [DataSet(role, name, None, None)]
    found = [(path.stem, read_json(path)) for path in paths]
    return [DataSet(role, each, len(content["files"]), content.get("license")) for each, content in found]


def _measured(data_set: str, label: Label, rows: Sequence[ImageRow]) -> Measured | None:
    """Figures of the pictures of a set at one rate; None if it was not measured."""
    found = [row for row in rows if (row.test_set, row.point) == (data_set, label)]
    if not found:
        return None
    bpp = 8 * sum(row.bytes for row in found) / sum(row.width * row.height for row in found)
    return Measured(data_set, RATES[label], len(found), bpp, _figure(found, "psnr_db"), _figure(found, "ms_ssim"))


def _figure(rows: Sequence[ImageRow], name: str) -> Figure | None:
    """The mean of a figure and its interval; None where a picture lacks it."""
    values = [getattr(row, name) for row in rows]
    if None in values:
        return None
    found = paired_difference(np.array(values, np.float64), np.zeros(len(values)))
    return Figure(found.mean, found.low, found.high)
