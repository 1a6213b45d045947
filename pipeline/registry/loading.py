"""Registered codecs, each run by the code that its version carries."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.registry.client import TrackingError, client, first_line, in_one_line, uri

if TYPE_CHECKING:
    from components.codecs.deployed import DeployedCodec

logger = logging.getLogger(__name__)


def registered_codec(root: Path, model_uri: str) -> "DeployedCodec":
    """The codec of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, with the version's own code.

    A version that was registered without code of its own is run by the code of this program, with a warning.

    Returns:
        A DeployedCodec of the version's own copy of that class; without torch an ExportedCodec of its own.

    Raises:
        TrackingError: There is no such version, or it cannot be loaded.
    """
    with TemporaryDirectory() as folder:
        return downloaded_codec(download(root, model_uri, Path(folder)), model_uri)


def downloaded_codec(files: Path, model_uri: str) -> "DeployedCodec":
    """The codec of a version's files, as `registered_codec`; without the registry.

    Args:
        files: What `download` returned.
        model_uri: The version's address, for messages.

    Raises:
        TrackingError: It cannot be loaded.
    """
    import mlflow

    if not list((files / "artifacts").glob("*.zip")):
        logger.warning("%s has no code of its own: today's code runs it, which may decode differently", model_uri)
        from components.codecs.deployed import DeployedCodec

        return DeployedCodec(next((files / "artifacts").glob("*.safetensors")))
    with in_one_line(model_uri):
        try:
            codec: DeployedCodec = mlflow.pyfunc.load_model(str(files)).unwrap_python_model().codec
        except ImportError as error:
            raise TrackingError(f"{model_uri}: its code does not run here: {first_line(error)}") from error
    return codec


def codec_that_wrote(root: Path, codec: str, model_hash: bytes) -> "DeployedCodec":
    """The registered codec that wrote a stream, with the version's own code.

    Of versions that share their weights and not their code, the newest counts.

    Args:
        root: The checkout.
        codec: The codec's name in the stream's header, for the error's text.
        model_hash: The model hash in the stream's header.

    Raises:
        TrackingError: No registered version has this model hash.
    """
    with in_one_line(uri(root)):
        found = client(root).search_model_versions(f"tags.model_hash = '{model_hash.hex()}'")
    if not found:
        raise TrackingError(
            f"the stream was written by {codec} model {model_hash.hex()}, which {uri(root)} does not hold; "
            "name it with --model or --checkpoint"
        )
    newest = max(found, key=lambda version: (version.creation_timestamp, int(version.version)))
    return registered_codec(root, f"models:/{newest.name}/{newest.version}")


def download(root: Path, model_uri: str, folder: Path) -> Path:
    """A copy of a version's files, below `folder`. Raises TrackingError."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client(root)
    try:
        return Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"{model_uri}: not found in {uri(root)} ({first_line(error)})") from error
