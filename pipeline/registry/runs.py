"""MLflow runs: the parameters, figures, pictures and files of a training or a release."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from components.arrays import Rgb
from pipeline.registry.client import TrackingError, client, experiment_id, in_one_line

TRAINING_S = "training_s"
"""Metric of a training's run: its seconds, interruptions left out."""

logger = logging.getLogger(__name__)


class Run:
    """One MLflow run, entered as a context.

    A run that an exception leaves stays open. Entering again with the same identity continues it, so that a resumed
    training is one run. Every method but `log_row` raises TrackingError with one line if MLflow fails.
    """

    def __init__(self, root: Path, name: str, identity: str, parameters: Mapping[str, Any]):
        """Find the open run, or create one.

        Args:
            root: The checkout.
            name: The run's name on MLflow's pages.
            identity: A name for this work alone, such as a hash of its parameters and data.
            parameters: Parameters that a new run logs; nested keys are joined with dots.
        """
        self._client = client(root)
        experiment = experiment_id(self._client)
        self._name = name
        with in_one_line(f"MLflow's run {name}"):
            unfinished = self._client.search_runs(
                [experiment], f"tags.identity = '{identity}' and attributes.status = 'RUNNING'", max_results=1
            )
            if unfinished:
                self.id: str = unfinished[0].info.run_id
            else:
                self.id = self._client.create_run(experiment, run_name=name, tags={"identity": identity}).info.run_id
                for key, value in _flat(parameters).items():
                    self._client.log_param(self.id, key, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with in_one_line(f"MLflow's run {self._name}"):
                self._client.set_terminated(self.id)

    def log_row(self, row: Mapping[str, Any]) -> None:
        """Log a row's figures as metrics at its `step`; if the server fails, warn and carry on."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = {key: value for key, value in row.items() if key != "step" and value is not None}
        metrics = [Metric(key, value, now, row["step"]) for key, value in figures.items()]
        try:
            with in_one_line(f"MLflow did not take the figures of step {row['step']}"):
                self._client.log_batch(self.id, metrics)
        except TrackingError as error:
            logger.warning(f"{error}")

    def log_picture(self, path: str, rgb: Rgb) -> None:
        """Log a (H, W, 3) picture under `path`."""
        with in_one_line(f"MLflow's run {self._name}, {path}"):
            self._client.log_image(self.id, rgb, artifact_file=path)

    def log_folder(self, folder: Path, path: str) -> None:
        """Log every file of a folder under `path`."""
        with in_one_line(f"MLflow's run {self._name}, {path}"):
            self._client.log_artifacts(self.id, str(folder), path)


def training_seconds(root: Path, identity: str) -> float | None:
    """Seconds that the training of this identity took, interruptions left out; None if no run has the figure."""
    found = client(root)
    with in_one_line("MLflow"):
        runs = found.search_runs([experiment_id(found)], f"tags.identity = '{identity}'", max_results=1)
    return runs[0].data.metrics.get(TRAINING_S) if runs else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
