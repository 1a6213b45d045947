"""Commands on pictures and bitstreams, by a registered model, a checkpoint, an exported folder or a kept codec."""

from pathlib import Path
from typing import Annotated

import typer

from components.cli import coding
from pipeline.cli.codec_lookup import codec_named, codec_of_stream
from pipeline.terminal import console, progress

Input = Annotated[str, typer.Argument(help="a file, a folder, or - for standard input")]
Output = Annotated[str, typer.Argument(help="a file, a folder if the input is one, or - for standard output")]
BppOption = Annotated[
    float | None, typer.Option(help="size of every file in bits per pixel; for progressive codecs only")
]
EffortOption = Annotated[
    int, typer.Option(min=0, max=9, help="work of the encoder: 0 rounds, 9 refines for minutes; decoding is the same")
]
ModelOption = Annotated[
    str | None, typer.Option(help="a registered model, such as models:/image-codec-0.15bpp@champion")
]
CheckpointOption = Annotated[
    Path | None, typer.Option(help="a checkpoint file or an exported folder, instead of a registered model")
]

_USE = """import ratewright

codec = ratewright.load("this folder")
stream = codec.compress(rgb)  # (H, W, 3) uint8
rgb = codec.decompress(stream)"""
"""Of an exported codec, for its model card."""


def compress(
    source: Input,
    target: Output,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    bpp: BppOption = None,
    effort: EffortOption = 1,
) -> None:
    """Compress a picture, or every picture of a folder.

    Without --model or --checkpoint, the codec is the flagship in results/.
    """
    coding.compress(codec_named(model, checkpoint), source, target, bpp, effort, progress)


def decompress(source: Input, target: Output, model: ModelOption = None, checkpoint: CheckpointOption = None) -> None:
    """Decompress a bitstream, or every one of a folder, to PNG.

    Without --model or --checkpoint, the codec is the one that wrote the bitstream, from results/ or the registry.
    """
    given = None if model is None and checkpoint is None else codec_named(model, checkpoint)
    coding.decompress(given, codec_of_stream, source, target, progress)


def truncate(
    source: Input,
    target: Output,
    size: Annotated[int | None, typer.Option("--bytes", help="the largest size of a file")] = None,
    bpp: Annotated[float | None, typer.Option(help="the largest rate of a file, in bits per pixel")] = None,
) -> None:
    """Shorten a progressive bitstream, or every one of a folder.

    The shorter bitstream holds the same picture at a lower quality. Bitstreams that are small enough stay as they are.
    """
    coding.truncate(source, target, size, bpp)


def info(source: Input) -> None:
    """Show the codec, model, size and rate of a bitstream."""
    for line in coding.info(source):
        console.print(line)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint file")],
    folder: Annotated[Path, typer.Argument(help="a folder, which is made")],
) -> None:
    """Write a codec for programs without torch: its transforms as ONNX, its integers, a model card."""
    from components.codecs.checkpoint import load
    from components.codecs.export import export as export_codec
    from components.codecs.model_card import model_card
    from components.storage.atomic import write_bytes
    from pipeline.reporting.evidence import evidence_of_checkpoint

    codec, facts = load(checkpoint)
    description = export_codec(codec, folder)
    evidence = evidence_of_checkpoint(checkpoint)
    named = codec.name, description["model_hash"], description["gain"]
    card = model_card(*named, facts, _USE, evidence, description["files"])
    write_bytes(folder / "README.md", card.encode())
    console.print(f"{folder}: codec {codec.name}, model {description['model_hash']}, {len(description['files'])} files")
