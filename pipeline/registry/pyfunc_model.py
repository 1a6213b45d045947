"""The codec as an MLflow pyfunc model, which compresses and decompresses without the checkout.

`predict` takes a list of bytes. An item that starts like a bitstream is decompressed to a PNG file; any other is
read as a picture file and compressed. The artifact `codec` is the checkpoint. MLflow stores this module and the package
`components` with the model.
"""

from pathlib import Path

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class CodecModel(PythonModel):
    """The codec of one checkpoint as an MLflow model."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint."""
        from components.codecs.checkpoint import load
        from components.codecs.coder import LearnedCoder

        self.coder = LearnedCoder(load(Path(context.artifacts["codec"]))[0])

    def predict(self, model_input: list[bytes]) -> list[bytes]:  # type: ignore[override]
        """Compress each picture file to a bitstream, and decompress each bitstream to a PNG file."""
        from components.codecs.bitstream import MAGIC
        from components.data.image_files import decode_rgb, encode_png

        return [
            encode_png(self.coder.decode(item)) if item.startswith(MAGIC) else self.coder.encode(decode_rgb(item))
            for item in model_input
        ]


mlflow.models.set_model(CodecModel())
