"""The MLflow client: where the tracking server is, and the experiment that every run belongs to.

MLFLOW_TRACKING_URI says where the server is; by default everything lies in mlflow.db and mlartifacts/ in the checkout.
Artifacts lie beside an sqlite database, whoever makes it; a server has a place of its own for them.
Only the modules of this package import mlflow, and they do so inside functions: the import takes seconds.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import RatewrightError
from pipeline.entry import uncollected

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "ratewright"
_SQLITE = "sqlite:///"


class TrackingError(RatewrightError):
    """MLflow cannot be reached, or lacks a model, version or checkpoint."""


def uri(root: Path) -> str:
    """The tracking URI in use for the checkout at `root`; that of an sqlite database has an absolute path."""
    where = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root / 'mlflow.db'}"
    file = _sqlite_file(where)
    return where if file is None else f"{_SQLITE}{file}"


def client(root: Path) -> "MlflowClient":
    """A client of the tracking server, which is also the registry.

    The experiment is made if the server does not have it yet.

    Raises:
        TrackingError: The server does not answer.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # it would stand beside a command's errors
    where = uri(root)
    file = _sqlite_file(where)
    artifacts = None if file is None else (file.parent / "mlartifacts").as_uri()
    with uncollected(), in_one_line(f"MLflow at {where}"), _database_lock(file):
        import mlflow

        mlflow.set_tracking_uri(where)  # which sets the environment variable too
        mlflow.set_registry_uri(where)
        found = mlflow.MlflowClient()  # imports the database's libraries
        if found.get_experiment_by_name(EXPERIMENT) is None:
            found.create_experiment(EXPERIMENT, artifact_location=artifacts)
    return found


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Raise an error of MLflow, or of the database or server behind it, as a TrackingError: `what` and one line."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException) as error:
        raise TrackingError(f"{what}: {first_line(error)}") from error


def experiment_id(of: "MlflowClient") -> str:
    """The id of the experiment that `client` made or found."""
    with in_one_line("MLflow"):
        experiment = of.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return str(experiment.experiment_id)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, which MLflow follows with stack traces and SQL."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _sqlite_file(where: str) -> Path | None:
    """The file of an sqlite database; None for a server."""
    return Path(where.removeprefix(_SQLITE)).absolute() if where.startswith(_SQLITE) else None


@contextmanager
def _database_lock(file: Path | None) -> Iterator[None]:
    """An exclusive file lock on an sqlite database, released when the process ends.

    Two stages that start together without one would both create the tables, and break them.
    """
    if file is None:
        yield
        return
    from filelock import FileLock

    with FileLock(f"{file}.lock"):
        yield
