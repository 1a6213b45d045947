"""MLflow runs that failed for good and that no registered version is from: they may be deleted."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.registry.client import TrackingError, client, experiment_id, in_one_line, uri
from pipeline.registry.models import IDENTITY

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_PAGE = 1000


@dataclass(frozen=True)
class FailedRun:
    """A run that may be deleted.

    Attributes:
        id: MLflow's id of the run.
        name: Its name on MLflow's pages.
        bytes: Size of its artefacts as far as they lie on this machine.
    """

    id: str
    name: str
    bytes: int


def registered_identities(root: Path) -> set[str]:
    """The checkpoint of every registered version, as the versions' tags have it."""
    return {version.tags.get(IDENTITY, "") for version in _versions(client(root))}


def failed_runs(root: Path, before: float) -> list[FailedRun]:
    """The failed runs that no registered version is from.

    Args:
        root: The checkout.
        before: Runs that ended after this time, in seconds since 1970, may be resumed and are left out.

    Raises:
        TrackingError: MLflow does not answer.
    """
    from mlflow.entities import ViewType

    found = client(root)
    # A run that was deleted, and whose artefacts were not, is one that an interrupted `delete` left.
    view = ViewType.ACTIVE_ONLY if _is_server(root) else ViewType.ALL
    registered = {version.run_id for version in _versions(found)}
    runs: list[Run] = []
    token = None
    with in_one_line("MLflow"):
        while True:
            page = found.search_runs(
                [experiment_id(found)], "attributes.status = 'FAILED'", view, max_results=_PAGE, page_token=token
            )
            runs += page
            if not (token := page.token):
                break
    return [
        FailedRun(str(run.info.run_id), str(run.info.run_name), _size(run.info.artifact_uri))
        for run in runs
        if run.info.run_id not in registered and run.info.end_time and run.info.end_time / 1000 < before
    ]


def delete(root: Path, run_id: str) -> None:
    """Delete a run with its artefacts; on a server, mark it as deleted for the server's own `mlflow gc`.

    Raises TrackingError: MLflow refuses, or the run became part of a registered version or was resumed meanwhile.
    """
    found = client(root)
    with in_one_line(f"MLflow's run {run_id}"):
        run = found.get_run(run_id)
        if run.info.status != "FAILED" or run_id in {version.run_id for version in _versions(found)}:
            raise TrackingError(f"MLflow's run {run_id} is in use again")
        if run.info.lifecycle_stage == "active":
            found.delete_run(run_id)
    if not _is_server(root):
        command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri(root), "--run-ids", run_id]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TrackingError(f"mlflow gc: {' '.join(done.stderr.split()[-40:])}")


def _is_server(root: Path) -> bool:
    return uri(root).startswith("http")


def _versions(found: "MlflowClient") -> Iterator["ModelVersion"]:
    """Every version of every registered model."""
    token = None
    while True:
        with in_one_line("MLflow"):
            page: Any = found.search_model_versions(max_results=_PAGE, page_token=token)
        yield from page
        if not (token := page.token):
            return


def _size(artifacts: str) -> int:
    """Bytes below a file: address; 0 for any other."""
    if not artifacts.startswith("file://"):
        return 0
    return sum(path.stat().st_size for path in Path(artifacts.removeprefix("file://")).rglob("*") if path.is_file())
