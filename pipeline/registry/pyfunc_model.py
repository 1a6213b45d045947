"""The codec as an MLflow pyfunc model, which compresses and decompresses without the checkout.

`predict` takes a list of bytes. An item that starts like a bitstream is decompressed to a PNG file; any other is
read as a picture file and compressed.

MLflow stores this file with each version, and its artifacts: `codec` is the checkpoint, `code` a zip file with the
modules of `components` that the codec needs. `exported` is the same codec as ONNX and integers, which runs where torch
is not installed, and `exported_code` the modules for that; a codec without such a form lacks both. Modules lie in a
package with a name of its own for each content, so that versions with different code load in one process.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile
from zipimport import zipimporter

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_FOR_CHECKPOINTS = ("torch", "pywt")
"""What a checkpoint needs beyond an exported codec."""


class CodecModel(PythonModel):
    """The codec of one checkpoint as an MLflow model.

    Attributes:
        codec: A DeployedCodec of the version's own code, for programs that want more than `predict`. Without torch an
            ExportedCodec, which has the same names, and the efforts 0 and 1.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Import the version's code, and load the checkpoint. Raises MlflowException for one that cannot be read."""
        exported = "exported" in context.artifacts and any(find_spec(name) is None for name in _FOR_CHECKPOINTS)
        modules = _import_package(Path(context.artifacts["exported_code" if exported else "code"]))
        codec = modules["codecs.exported"].ExportedCodec if exported else modules["codecs.deployed"].DeployedCodec
        try:
            self.codec = codec(Path(context.artifacts["exported" if exported else "codec"]))
        except codec.error as error:
            raise MlflowException(str(error)) from error
        self._magic = modules["codecs.bitstream"].MAGIC
        self._files = modules["data.image_files"]

    def predict(self, model_input: list[bytes]) -> list[bytes]:  # type: ignore[override]
        """Compress each picture file to a bitstream, and decompress each bitstream to a PNG file.

        Raises MlflowException with one line for an item that is neither.
        """
        try:
            return [
                self._files.encode_png(self.codec.decode(item))
                if item.startswith(self._magic)
                else self.codec.encode(self._files.decode_rgb(item))
                for item in model_input
            ]
        except self.codec.error as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def _import_package(path: Path) -> dict[str, ModuleType]:
    """Import all modules of a zip file, which may go afterwards.

    Args:
        path: Called as the package in it.

    Returns:
        The modules by their names inside the package.
    """
    package = path.stem
    if package not in sys.modules:
        spec = zipimporter(str(path)).find_spec(package)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path}: no package {package} in this file")
        sys.modules[package] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[package])
    with ZipFile(path) as archive:
        names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in archive.namelist()]
    return {name.removeprefix(f"{package}."): import_module(name) for name in names}


mlflow.models.set_model(CodecModel())
