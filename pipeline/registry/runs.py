"""MLflow runs: the parameters, data sets, figures, pictures and files of a stage that measures, trains or releases."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from components.arrays import Rgb
from components.training.interrupt import Interrupted
from pipeline.registry.client import client, experiment_id, first_line, in_one_line

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

TRAINING_S = "training_s"
"""Metric of a training's run: its seconds, interruptions left out."""

EXPERIMENT_TAG = "dvc_experiment"
"""Tag of a run with the name of DVC's experiment that it belongs to."""

_DIGEST_LENGTH = 36  # MLflow takes no longer digest of a data set

_STOPS = (Interrupted, KeyboardInterrupt, SystemExit)
"""What leaves a run when its process is stopped; SIGTERM raises SystemExit."""

Role = Literal["training", "calibration", "test"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataInput:
    """A data set that a run reads, which MLflow shows among the run's inputs.

    Attributes:
        name: As params.yaml has it.
        sha256: Of the shards' index, or of the pictures' names and contents.
        source: Where its pictures come from: `bundled`, a folder or an address.
        role: What it is for; MLflow calls this the context.
    """

    name: str
    sha256: str
    source: str
    role: Role


class Run:
    """One MLflow run, entered as a context.

    An error that leaves the context marks the run as failed; a stop leaves it open. The next run with the same identity
    continues it in both cases, so that a resumed training is one run. MLflow that fails at the end, or in `log_row`, is
    a warning; every other method raises TrackingError with one line if it fails.
    """

    def __init__(
        self, root: Path, name: str, identity: str, parameters: Mapping[str, Any], data: Sequence[DataInput] = ()
    ):
        """Find the run that did not finish, or create one.

        Args:
            root: The checkout.
            name: The run's name on MLflow's pages.
            identity: A name for this work alone, such as a hash of its parameters and data.
            parameters: Parameters that a new run logs; nested keys are joined with dots.
            data: Data sets that a new run reads.

        Raises:
            TrackingError: MLflow does not answer.
        """
        self._client = client(root)
        self._name = name
        with in_one_line(f"MLflow's run {name}"):
            self.id = self._unfinished(identity) or self._new(name, identity, parameters, data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, _STOPS):
            return
        status = "FINISHED" if kind is None else "FAILED"
        with self.warning(f"that the run is {status}"):
            self._client.set_terminated(self.id, status)

    @contextmanager
    def warning(self, what: str) -> Iterator[None]:
        """Log a warning, and carry on, where MLflow does not take what the context sends.

        Args:
            what: What is sent, for the warning.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - each store of artifacts has errors of its own
            logger.warning("MLflow did not take %s: %s", what, first_line(error))

    def log_row(self, row: Mapping[str, Any]) -> None:
        """Log a row's figures as metrics at its `step`; if the server fails, warn and carry on."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = {key: value for key, value in row.items() if key != "step" and value is not None}
        metrics = [Metric(key, value, now, row["step"]) for key, value in figures.items()]
        with self.warning(f"the figures of step {row['step']}"):
            self._client.log_batch(self.id, metrics)

    def tag(self, key: str, value: str) -> None:
        """Set a tag; if the server fails, warn and carry on."""
        with self.warning(f"the tag {key}"):
            self._client.set_tag(self.id, key, value)

    def log_picture(self, path: str, rgb: Rgb) -> None:
        """Log a (H, W, 3) picture under `path`."""
        with in_one_line(f"MLflow's run {self._name}, {path}"):
            self._client.log_image(self.id, rgb, artifact_file=path)

    def log_folder(self, folder: Path, path: str) -> None:
        """Log every file of a folder under `path`."""
        with in_one_line(f"MLflow's run {self._name}, {path}"):
            self._client.log_artifacts(self.id, str(folder), path)

    def _unfinished(self, identity: str) -> str | None:
        """The newest run of the identity, open again, unless it finished."""
        newest = self._client.search_runs(
            [experiment_id(self._client)],
            f"tags.identity = '{identity}'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if not newest or newest[0].info.status == "FINISHED":
            return None
        run_id = str(newest[0].info.run_id)
        self._client.update_run(run_id, "RUNNING")
        return run_id

    def _new(self, name: str, identity: str, parameters: Mapping[str, Any], data: Sequence[DataInput]) -> str:
        """A new run with its parameters and data sets."""
        from mlflow.entities import Param

        tags = {"identity": identity}
        if experiment := os.environ.get("DVC_EXP_NAME"):  # of `dvc exp run` and `ratewright sweep`
            tags[EXPERIMENT_TAG] = experiment
        run = self._client.create_run(experiment_id(self._client), run_name=name, tags=tags)
        run_id = str(run.info.run_id)
        self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in _flat(parameters).items()])
        if data:
            self._client.log_inputs(run_id, [_input(each) for each in data])
        return run_id


def training_seconds(root: Path, identity: str) -> float | None:
    """Seconds that the training of this identity took, interruptions left out; None if no run has the figure."""
    found = client(root)
    with in_one_line("MLflow"):
        runs = found.search_runs([experiment_id(found)], f"tags.identity = '{identity}'", max_results=1)
    return runs[0].data.metrics.get(TRAINING_S) if runs else None


def _input(data: DataInput) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": data.source})
    dataset = Dataset(data.name, data.sha256[:_DIGEST_LENGTH], "ratewright", source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.role), InputTag("sha256", data.sha256)])


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
