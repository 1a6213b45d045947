"""The command `serve`, whose codec may be a registered model."""

from pathlib import Path
from typing import Annotated

import typer

from components.cli import serving
from components.serving.limits import Limits, help_of
from components.serving.source import FileSource, ModelSource
from pipeline.cli.codec_lookup import REFERENCE_CHECKPOINT
from pipeline.paths import CHECKOUT

_REGISTERED = "models:/"


def serve(
    codec: Annotated[
        str | None,
        typer.Argument(help="an exported folder, a checkpoint, or a registered model such as models:/NAME@champion"),
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen at")] = serving.HOST,
    port: Annotated[int, typer.Option(help="port; 0 for any that is free")] = serving.PORT,
    workers: Annotated[int, typer.Option(help=help_of("workers"))] = Limits.workers,
    queue: Annotated[int, typer.Option(help=help_of("queue"))] = Limits.queue,
    megapixels: Annotated[float, typer.Option(help=help_of("megapixels"))] = Limits.megapixels,
    megabytes: Annotated[float, typer.Option(help=help_of("megabytes"))] = Limits.megabytes,
    seconds: Annotated[float, typer.Option(help=help_of("seconds"))] = Limits.seconds,
    memory: Annotated[float, typer.Option(help=help_of("memory"))] = Limits.memory,
    grace: Annotated[float, typer.Option(help=help_of("grace"))] = Limits.grace,
    poll: Annotated[float, typer.Option(help=help_of("poll"))] = Limits.poll,
) -> None:
    """Serve a codec over HTTP: POST /compress and /decompress, GET /health, /metrics and /docs.

    Without CODEC it is the flagship in results/. A service follows its model: a new champion, or a folder that
    replaces the one named, is used without a restart.
    """
    limits = Limits(workers, queue, megapixels, megabytes, seconds, memory, grace, poll)
    serving.serve(_source(codec), host, port, limits)


def _source(codec: str | None) -> ModelSource:
    if codec is None or not codec.startswith(_REGISTERED):
        return FileSource(REFERENCE_CHECKPOINT if codec is None else Path(codec))
    from pipeline.registry.followed import FollowedModel

    return FollowedModel(CHECKOUT, codec)
