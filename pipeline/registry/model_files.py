"""The files of a registered version: the checkpoint, the code that decodes it, and MLflow's description of both."""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

from pipeline.paths import CHECKOUT
from pipeline.source_code import VARIANTS, SourceCode

if TYPE_CHECKING:
    from mlflow.models.model import Model, ModelInfo

_ENTRY_POINTS = ("components.codecs.deployed", "components.codecs.bitstream", "components.data.image_files")
"""The modules that `pyfunc_model` takes from a version's code."""
_PACKAGES = ("mlflow", "numpy", "torch", "constriction", "safetensors", "pillow", "pywavelets", "threadpoolctl")
"""Packages that a process needs to run a registered model."""


def log_model(checkpoint: Path, run_id: str) -> "ModelInfo":
    """Log a checkpoint to an MLflow run as a model that loads without this checkout.

    No file of the model holds a path of this machine.

    Args:
        checkpoint: The .safetensors file.
        run_id: The run.
    """
    import mlflow
    from mlflow.models import Model

    from components.codecs.checkpoint import read_facts

    # The run is made active, since a model lies in the active run's experiment, whatever `run_id` says.
    with TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id):
        code = write_code(str(read_facts(checkpoint)["codec"]), Path(folder))
        logged: ModelInfo = Model.log(
            artifact_path=None,  # deprecated, and required
            name="codec",
            flavor=SimpleNamespace(save_model=_save_without_paths),
            flavor_name="mlflow.pyfunc",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"codec": str(checkpoint), "code": str(code)},
            pip_requirements=_requirements(),
        )
    return logged


def write_code(codec: str, folder: Path) -> Path:
    """Write the modules of `components` that a codec needs for coding to a zip file, the same bytes each time.

    The package in it is not called `components`, but after its content: packages of one name have the same code.

    Args:
        codec: The codec's name.
        folder: Where the file is written.

    Returns:
        The file, which is called as the package in it.
    """
    source = SourceCode(CHECKOUT)
    contents = {}
    for module in source.closure([*_ENTRY_POINTS, f"{VARIANTS}.{codec}"]):
        path = source.paths[module]
        contents[path.relative_to(CHECKOUT / "components").as_posix()] = path.read_bytes()
    package = f"ratewright_{hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:16]}"
    with ZipFile(folder / f"{package}.zip", "w") as archive:  # not compressed: the bytes depend on no library
        for name, content in sorted(contents.items()):
            archive.writestr(ZipInfo(f"{package}/{name}"), content)
    return folder / f"{package}.zip"


def _save_without_paths(path: str, mlflow_model: "Model", **arguments: Any) -> None:
    """Save a pyfunc model as MLflow does, without the places that its files were taken from and are written to."""
    import mlflow

    mlflow.pyfunc.save_model(path=path, mlflow_model=mlflow_model, **arguments)
    description = mlflow_model.flavors["python_function"]
    description["model_code_path"] = Path(description["model_code_path"]).name  # loading takes the name alone
    for artifact in description["artifacts"].values():
        del artifact["uri"]
    mlflow_model.artifact_path = None
    mlflow_model.save(str(Path(path) / "MLmodel"))


def _requirements() -> list[str]:
    """The packages of a registered model, at the versions installed here."""
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in _PACKAGES]
