"""MLflow: runs, the registry, promotion and rollback. The only module that imports mlflow, and it does so late.

MLFLOW_TRACKING_URI says where the server is; by default everything lies in mlflow.db and mlartifacts/ in the checkout.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from components.arrays import Rgb
from components.errors import RatewrightError
from pipeline.entry import console

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EXPERIMENT = "ratewright"
CHAMPION, CHALLENGER = "champion", "challenger"
TRAINING_S = "training_s"  # metric of a training's run
IDENTITY = "checkpoint"  # tag of a version: the checkpoint's model hash and gain


class TrackingError(RatewrightError):
    """MLflow cannot be reached, or does not hold what was asked for."""


def uri(root: Path) -> str:
    """The tracking URI in use for the checkout at `root`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def client(root: Path) -> "MlflowClient":
    """A client of the tracking server, which is also the registry. Raises TrackingError if it does not answer."""
    import logging

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow
    from mlflow.exceptions import MlflowException

    # A server keeps artifacts where it was told to; a database in the checkout needs a place beside it.
    artifacts = None if "MLFLOW_TRACKING_URI" in os.environ else (root / "mlartifacts").as_uri()
    where = uri(root)
    mlflow.set_tracking_uri(where)  # which sets the environment variable too
    mlflow.set_registry_uri(where)
    try:
        # Two stages that start together on an empty checkout would both lay out the database, and break it.
        with _alone(root):
            found = mlflow.MlflowClient()
            if found.get_experiment_by_name(EXPERIMENT) is None:
                found.create_experiment(EXPERIMENT, artifact_location=artifacts)
    except MlflowException as error:
        raise TrackingError(f"MLflow at {where}: {_first_line(error)}") from error
    return found


class Run:
    """One MLflow run, entered as a context; entering again with the same identity goes on with an unfinished one.

    A run that is left by an exception stays open, so that the resumed work lands in it.
    """

    def __init__(self, root: Path, name: str, identity: str, parameters: Mapping[str, Any]):
        self._client = client(root)
        known = self._client.get_experiment_by_name(EXPERIMENT)
        assert known is not None  # `client` made it
        experiment = known.experiment_id
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
            self._client.set_terminated(self.id)

    def log_row(self, row: Mapping[str, Any]) -> None:
        """Log a row's figures as metrics at its `step`; a server that fails now is reported, and work goes on."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        figures = {key: value for key, value in row.items() if key != "step" and value is not None}
        metrics = [Metric(key, value, now, row["step"]) for key, value in figures.items()]
        try:
            self._client.log_batch(self.id, metrics)
        except MlflowException as error:
            console.print(f"MLflow did not take the figures of step {row['step']}: {_first_line(error)}")

    def log_picture(self, path: str, rgb: Rgb) -> None:
        """Log a (H, W, 3) picture under `path`."""
        self._client.log_image(self.id, rgb, artifact_file=path)

    def log_folder(self, folder: Path, path: str) -> None:
        """Log every file of a folder under `path`."""
        self._client.log_artifacts(self.id, str(folder), path)


class RegisteredModel:
    """The versions and aliases of one registered model."""

    def __init__(self, root: Path, name: str):
        self.name, self._root, self._client = name, root, client(root)

    def versions(self) -> list["ModelVersion"]:
        """All versions with their tags, newest first."""
        found = self._client.search_model_versions(f"name = '{self.name}'")
        return sorted(found, key=lambda version: -int(version.version))

    def version_of(self, identity: str) -> str | None:
        """The version that holds the checkpoint `identity`."""
        return next((str(v.version) for v in self.versions() if v.tags.get(IDENTITY) == identity), None)

    def alias(self, alias: str) -> str | None:
        """The version an alias points to."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise TrackingError(f"{self.name}@{alias}: {_first_line(error)}") from error

    def aliases(self) -> dict[str, str]:
        """The champion and the challenger, those that exist."""
        found = {alias: self.alias(alias) for alias in (CHAMPION, CHALLENGER)}
        return {alias: version for alias, version in found.items() if version is not None}

    def point(self, alias: str, version: str) -> None:
        """Point an alias at a version: one write, which happens or does not."""
        self._client.set_registered_model_alias(self.name, alias, version)

    def tags(self, version: str) -> dict[str, str]:
        """The tags of a version."""
        return dict(self._client.get_model_version(self.name, version).tags)

    def tag(self, version: str, **tags: str) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, version, key, value)

    def add(self, checkpoint: Path, run_id: str, tags: Mapping[str, str]) -> str:
        """Log a self-contained model of `checkpoint` in a run, register it with `tags`, and return its version."""
        import mlflow
        from mlflow.exceptions import MlflowException

        here = Path(__file__).parent
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="codec",
                python_model=str(here / "pyfunc_model.py"),
                artifacts={"codec": str(checkpoint)},
                code_paths=[str(here.parents[1] / "components")],
                pip_requirements=_requirements(),
            )
        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise TrackingError(f"{self.name}: {_first_line(error)}") from error
        version = self._client.create_model_version(
            self.name, logged.model_uri, run_id=run_id, tags=dict(tags), model_id=logged.model_id
        )
        return str(version.version)

    def roll_back(self) -> tuple[str, str]:
        """Point `champion` at the version that the champion replaced; returns (from, to).

        The version rolled back from is marked, so that no later run promotes it again. Raises TrackingError
        where there is nothing to go back to.
        """
        champion = self.alias(CHAMPION)
        if champion is None:
            raise TrackingError(f"{self.name} has no champion in {uri(self._root)}")
        decision = json.loads(self.tags(champion).get("decision", "{}"))
        previous = decision.get("replaced")
        if previous is None:
            raise TrackingError(f"{self.name} version {champion} is the first champion: there is none to go back to")
        self.tag(champion, rolled_back="true")
        self.point(CHAMPION, previous)
        return champion, previous


def training_seconds(root: Path, identity: str) -> float | None:
    """How long the training of this identity took, interruptions left out; None where no run says so."""
    found = client(root)
    experiment = found.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None  # `client` made it
    runs = found.search_runs([experiment.experiment_id], f"tags.identity = '{identity}'", max_results=1)
    return runs[0].data.metrics.get(TRAINING_S) if runs else None


def checkpoint_of(root: Path, model_uri: str) -> Path:
    """The checkpoint of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, downloaded if it is not local."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client(root)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(f"{model_uri.rstrip('/')}/artifacts"))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"{model_uri}: not found in {uri(root)} ({_first_line(error)})") from error
    return next(folder.glob("*.safetensors"))


def checkpoint_for_stream(root: Path, codec: str, model_hash: bytes) -> Path:
    """The registered checkpoint that wrote a stream. Raises TrackingError where none did."""
    found = client(root).search_model_versions(f"tags.model_hash = '{model_hash.hex()}'")
    if not found:
        raise TrackingError(
            f"the stream was written by {codec} model {model_hash.hex()}, which {uri(root)} does not hold; "
            "name it with --model or --checkpoint"
        )
    return checkpoint_of(root, f"models:/{found[0].name}/{found[0].version}")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold off every other process that enters this for the same checkout; one that dies lets go."""
    if uri(root) != f"sqlite:///{root / 'mlflow.db'}":
        yield
        return
    with (root / "mlflow.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _requirements() -> list[str]:
    """What a process needs to run the model, at the versions that it was made with."""
    from importlib.metadata import version

    needed = ("mlflow", "numpy", "torch", "constriction", "safetensors", "pillow", "pywavelets")
    return [f"{name}=={version(name).partition('+')[0]}" for name in needed]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
