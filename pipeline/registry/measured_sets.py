"""The figures of data sets in MLflow, where a scheduled run on any machine finds those of the revision before."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from components.data.validation.statistics import QUANTILES, MeasuredSet
from components.storage.atomic import write_json
from pipeline.registry.client import TrackingError, client, experiment_id, first_line, in_one_line
from pipeline.registry.runs import DataInput, Run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

FILE = "measured.json"
"""Artifact of a run: a `MeasuredSet`."""
NAME_TAG, CONTENT_TAG = "data_set", "data_set_content"
"""Tags of a run with the set's name and the hash of its content."""

_LATEST = 50  # runs looked through for another content; two are enough unless sets go back and forth


def previous(root: Path, name: str, content: str | None = None) -> MeasuredSet | None:
    """The data set as it was last measured; None if it never was.

    Args:
        root: The checkout.
        name: The data set.
        content: Hash of its present content, which does not count; None for the last one whatever its content.

    Raises:
        TrackingError: MLflow does not answer, or has lost or damaged the file.
    """
    found = client(root)
    with in_one_line(f"MLflow, {name} as it was measured before"):
        run = next((run for run in _runs(found, name) if run.data.tags.get(CONTENT_TAG) != content), None)
        if run is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            text = Path(found.download_artifacts(run.info.run_id, FILE, folder)).read_text()
    try:
        return MeasuredSet.model_validate_json(text)
    except ValidationError as error:
        raise TrackingError(f"MLflow's run {run.info.run_id}: {FILE}: {first_line(error)}") from error


def record(root: Path, measured: MeasuredSet, data: DataInput) -> None:
    """Log a data set's figures, unless the newest run of this set has this content.

    Args:
        root: The checkout.
        measured: The figures.
        data: The set as an input of the run.

    Raises:
        TrackingError: MLflow does not answer.
    """
    found = client(root)
    with in_one_line(f"MLflow, {measured.name} as it was measured before"):
        newest = next(iter(_runs(found, measured.name)), None)
    if newest is not None and newest.data.tags.get(CONTENT_TAG) == measured.content:
        return
    facts = {"data_set": measured.name, "revision": measured.revision, "content": measured.content}
    with Run(root, f"measure {measured.name}", f"measure-{measured.name}-{measured.content}", facts, [data]) as run:
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / FILE, measured.model_dump())
            run.log_folder(Path(folder), "")
        medians = {figure: values[QUANTILES.index(0.5)] for figure, values in measured.statistics.quantiles.items()}
        run.log_row({"step": 0, "pictures": measured.statistics.pictures, **medians})
        run.tag(NAME_TAG, measured.name)
        run.tag(CONTENT_TAG, measured.content)


def _runs(found: "MlflowClient", name: str) -> "list[MlflowRun]":
    """Finished runs that measured a set, the newest first."""
    return list(
        found.search_runs(
            [experiment_id(found)],
            f"tags.{NAME_TAG} = {json.dumps(name)} and attributes.status = 'FINISHED'",
            max_results=_LATEST,
            order_by=["attributes.start_time DESC"],
        )
    )
