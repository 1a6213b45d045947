"""The codec of a command: a registered model, a checkpoint, the reference run's winner, or the writer of a stream."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import RatewrightError
from pipeline.paths import CHECKOUT, Layout

if TYPE_CHECKING:
    from components.codecs.deployed import DeployedCodec

REFERENCE_CHECKPOINT = Layout(CHECKOUT).archived_checkpoint("real")
"""The winner of the reference run in results/."""


def codec_named(model: str | None, checkpoint: Path | None) -> "DeployedCodec":
    """Load the codec that a command's options name, by default the reference run's winner.

    A registered model is run by the code that its version carries, a checkpoint file by the code of this program.

    Args:
        model: The address of a registered model, such as models:/NAME@champion.
        checkpoint: A checkpoint file.

    Raises:
        RatewrightError: Both are given, or the codec cannot be loaded.
    """
    from components.codecs.deployed import DeployedCodec

    if model is not None and checkpoint is not None:
        raise RatewrightError("name the codec with --model or with --checkpoint, not with both")
    if model is not None:
        from pipeline.registry.loading import registered_codec

        return registered_codec(CHECKOUT, model)
    if checkpoint is None:
        checkpoint = REFERENCE_CHECKPOINT
        if not checkpoint.is_file():
            raise RatewrightError(f"no {checkpoint}: name the codec with --model or with --checkpoint")
    return DeployedCodec(checkpoint)


def codec_of_stream(codec: str, model_hash: bytes) -> "DeployedCodec":
    """Load the codec that wrote a stream: the reference run's winner, or a registered model.

    Args:
        codec: The codec's name in the stream's header.
        model_hash: The model hash in the stream's header.

    Raises:
        RatewrightError: Neither results/ nor the registry has it.
    """
    from components.codecs.deployed import DeployedCodec
    from pipeline.registry.loading import codec_that_wrote

    if REFERENCE_CHECKPOINT.is_file() and (reference := DeployedCodec(REFERENCE_CHECKPOINT)).model_hash == model_hash:
        return reference
    return codec_that_wrote(CHECKOUT, codec, model_hash)
