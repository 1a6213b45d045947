"""Pictures that a codec once failed on, kept with its registered model: the gate looks at them in every comparison."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.arrays import Rgb
from components.data.image_files import decode_rgb
from pipeline.registry.client import TrackingError, client, experiment_id, in_one_line
from pipeline.registry.runs import Run

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

MODEL_TAG, NAME_TAG, REASON_TAG = "regression_of", "regression_picture", "regression_reason"
"""Tags of the MLflow run that holds a picture: the registered model, the file's name, what went wrong."""

_MOST = 1000


@dataclass(frozen=True)
class RegressionPicture:
    """A kept picture.

    Attributes:
        name: Its file's name, which is unique for a model.
        reason: What went wrong with it.
        run_id: MLflow's run that holds it.
    """

    name: str
    reason: str
    run_id: str


def add(root: Path, model: str, file: Path, reason: str) -> None:
    """Keep a picture.

    Args:
        root: The checkout.
        model: The registered model.
        file: The picture.
        reason: What went wrong with it, in a sentence.

    Raises:
        ImageError: The file is no picture.
        TrackingError: There is a picture of this name, or MLflow does not answer.
    """
    content = file.read_bytes()
    decode_rgb(content)
    if any(picture.name == file.name for picture in listed(root, model)):
        raise TrackingError(f"{model} has a regression picture {file.name}; remove it first, or choose another name")
    digest = hashlib.sha256(content).hexdigest()
    with Run(root, f"regression picture {file.name}", f"regression-{model}-{digest}", {"reason": reason}) as run:
        with TemporaryDirectory() as folder:
            (Path(folder) / file.name).write_bytes(content)
            run.log_folder(Path(folder), "")
        for tag, value in ((REASON_TAG, reason), (NAME_TAG, file.name), (MODEL_TAG, model)):
            run.tag(tag, value)


def remove(root: Path, model: str, name: str) -> None:
    """Keep a picture no longer. Raises TrackingError where there is none of this name."""
    picture = next((each for each in listed(root, model) if each.name == name), None)
    if picture is None:
        raise TrackingError(f"{model} has no regression picture {name}")
    with in_one_line(f"MLflow, {name}"):
        client(root).delete_run(picture.run_id)


def listed(root: Path, model: str) -> list[RegressionPicture]:
    """The pictures of a model, by name. Raises TrackingError if MLflow does not answer."""
    found = client(root)
    with in_one_line(f"MLflow, regression pictures of {model}"):
        runs: list[MlflowRun] = found.search_runs(
            [experiment_id(found)],
            f"tags.{MODEL_TAG} = '{model}' and attributes.status = 'FINISHED'",
            max_results=_MOST,
        )
    pictures = [RegressionPicture(run.data.tags[NAME_TAG], run.data.tags[REASON_TAG], run.info.run_id) for run in runs]
    return sorted(pictures, key=lambda picture: picture.name)


def pictures(root: Path, model: str) -> Iterator[tuple[str, Rgb]]:
    """The names and RGB (H, W, 3) of a model's pictures. Raises TrackingError, and ImageError for a damaged file."""
    for picture in listed(root, model):
        with TemporaryDirectory() as folder, in_one_line(f"MLflow, {picture.name}"):
            path = client(root).download_artifacts(picture.run_id, picture.name, folder)
            yield picture.name, decode_rgb(Path(path).read_bytes())
