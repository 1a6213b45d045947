"""The files of a registered version: a codec in both its forms, the code that runs them, and MLflow's description."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

from pipeline.paths import CHECKOUT
from pipeline.source_code import VARIANTS, SourceCode

if TYPE_CHECKING:
    from mlflow.models.model import Model, ModelInfo

CARD = "model_card.md"
_FILES = ("components.codecs.bitstream", "components.data.image_files")
_WITH_TORCH = ("components.codecs.deployed", *_FILES)
_WITHOUT_TORCH = ("components.codecs.exported", *_FILES)
"""The modules that `pyfunc_model` takes from a version's code."""
_PACKAGES = ("constriction", "numpy", "pandas", "pillow", "safetensors", "threadpoolctl")
_OF_TORCH = ("mlflow", "pywavelets", "torch")
_OF_EXPORTS = ("mlflow-skinny", "onnxruntime")
"""Packages that a process needs to run a registered model; MLflow's models take pandas."""
_EXAMPLE_SIDE = 64


def log_model(checkpoint: Path, run_id: str, card: str, exported: Path | None) -> "ModelInfo":
    """Log a codec to an MLflow run as a model that loads without this checkout.

    No file of the model holds a path of this machine.

    Args:
        checkpoint: The .safetensors file.
        run_id: The run.
        card: The model card, in Markdown.
        exported: The folder that the codec was exported to; None for a codec that runs with torch alone.
    """
    import mlflow
    from mlflow.models import Model

    from components.codecs.checkpoint import read_facts

    # The run is made active, since a model lies in the active run's experiment, whatever `run_id` says.
    with TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id), _without_bytecode():
        (Path(folder) / CARD).write_text(card, encoding="utf-8")
        artifacts = {"codec": checkpoint, "card": Path(folder) / CARD}
        artifacts["code"] = write_code(str(read_facts(checkpoint)["codec"]), Path(folder))
        if exported is not None:
            artifacts |= {"exported": exported, "exported_code": write_exported_code(Path(folder))}
        logged: ModelInfo = Model.log(
            artifact_path=None,  # deprecated, and required
            name="codec",
            flavor=SimpleNamespace(save_model=_save_without_paths),
            flavor_name="mlflow.pyfunc",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={name: str(path) for name, path in artifacts.items()},
            pip_requirements=_requirements(_OF_TORCH if exported is None else _OF_EXPORTS),
            input_example=[_example()],
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
    return _write_modules((*_WITH_TORCH, f"{VARIANTS}.{codec}"), folder)


def write_exported_code(folder: Path) -> Path:
    """`write_code` of the modules that run an exported codec, none of which imports torch."""
    return _write_modules(_WITHOUT_TORCH, folder)


def _write_modules(modules: Sequence[str], folder: Path) -> Path:
    """Write modules, and what they import, to a zip file."""
    source = SourceCode(CHECKOUT)
    contents = {}
    for module in source.closure(modules):
        path = source.paths[module]
        contents[path.relative_to(CHECKOUT / "components").as_posix()] = path.read_bytes()
    package = f"ratewright_{hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:16]}"
    with ZipFile(folder / f"{package}.zip", "w") as archive:  # not compressed: the bytes depend on no library
        for name, content in sorted(contents.items()):
            archive.writestr(ZipInfo(f"{package}/{name}"), content)
    return folder / f"{package}.zip"


def _example() -> bytes:
    """A small picture file: a sky of one gradient."""
    import numpy as np

    from components.data.image_files import encode_png

    levels = np.linspace(0, 255, _EXAMPLE_SIDE, dtype=np.uint8)
    down, along = np.meshgrid(levels, levels, indexing="ij")
    return encode_png(np.stack((down, along, 255 - down), axis=-1))


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Leave no compiled modules, which name their folder, where MLflow tries the example on the files that it logs."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


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


def _requirements(further: Sequence[str]) -> list[str]:
    """The packages of a registered model, at the versions installed here; mlflow-skinny is a part of MLflow."""
    from importlib.metadata import version

    installed = {name: version(name).partition("+")[0] for name in (*_PACKAGES, *further)}
    return [f"{name}=={number}" for name, number in sorted(installed.items())]
