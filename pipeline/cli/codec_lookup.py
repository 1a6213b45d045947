"""The codec of a command: a registered model, a checkpoint, the flagship of results/, or the writer of a stream."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import RatewrightError
from pipeline.paths import CHECKOUT, Layout

if TYPE_CHECKING:
    from components.codecs.codec_files import CodecInUse

REFERENCE_CHECKPOINT = Layout(CHECKOUT).archived_checkpoint("flagship")
"""The codec of the kept run that trained the flagship alone, and longest."""


def codec_named(model: str | None, checkpoint: Path | None) -> "CodecInUse":
    """Load the codec that a command's options name, by default the flagship of results/.

    A registered model is run by the code that its version carries, a checkpoint file by the code of this program.

    Args:
        model: The address of a registered model, such as models:/NAME@champion.
        checkpoint: A checkpoint file or an exported folder.

    Raises:
        RatewrightError: Both are given, or the codec cannot be loaded.
    """
    from components.codecs.codec_files import open_codec

    if model is not None and checkpoint is not None:
        raise RatewrightError("name the codec with --model or with --checkpoint, not with both")
    if model is not None:
        from pipeline.registry.loading import registered_codec

        return registered_codec(CHECKOUT, model)
    if checkpoint is None:
        checkpoint = REFERENCE_CHECKPOINT
        if not checkpoint.is_file():
            raise RatewrightError(f"no {checkpoint}: name the codec with --model or with --checkpoint")
    return open_codec(checkpoint)


def codec_of_stream(codec: str, model_hash: bytes) -> "CodecInUse":
    """Load the codec that wrote a stream: the winner of a kept run, or a registered model.

    Args:
        codec: The codec's name in the stream's header.
        model_hash: The model hash in the stream's header.

    Raises:
        RatewrightError: Neither results/ nor the registry has it.
    """
    from components.codecs.deployed import DeployedCodec
    from pipeline.registry.loading import codec_that_wrote

    archived = [REFERENCE_CHECKPOINT, *Layout(CHECKOUT).archived_checkpoints]
    for checkpoint in filter(Path.is_file, dict.fromkeys(archived)):
        if (kept := DeployedCodec(checkpoint)).model_hash == model_hash:
            return kept
    return codec_that_wrote(CHECKOUT, codec, model_hash)
