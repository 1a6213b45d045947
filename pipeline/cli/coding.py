"""Commands on pictures and bitstreams: compress, decompress, truncate, info."""

import logging
import math
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import RatewrightError
from pipeline.cli.codec_lookup import codec_named, codec_of_stream
from pipeline.cli.files import convert, naming_errors, read, shared_cores
from pipeline.entry import console, progress

if TYPE_CHECKING:
    from components.codecs.bitstream import Bitstream
    from components.codecs.deployed import DeployedCodec

STREAM_SUFFIX = ".rw"

Input = Annotated[str, typer.Argument(help="a file, a folder, or - for standard input")]
Output = Annotated[str, typer.Argument(help="a file, a folder if the input is one, or - for standard output")]
ModelOption = Annotated[
    str | None, typer.Option(help="a registered model, such as models:/image-codec-0.15bpp@champion")
]
CheckpointOption = Annotated[Path | None, typer.Option(help="a checkpoint file, instead of a registered model")]
BppOption = Annotated[
    float | None, typer.Option(help="size of every file in bits per pixel; for progressive codecs only")
]
EffortOption = Annotated[
    int, typer.Option(min=0, max=9, help="work of the encoder: 0 rounds, 9 refines for minutes; decoding is the same")
]

logger = logging.getLogger(__name__)


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
    _check_rate(bpp)
    codec = codec_named(model, checkpoint)
    if bpp is not None and not codec.progressive:
        raise RatewrightError(f"--bpp is for progressive codecs; {codec.name!r} has the one rate it was calibrated to")

    from components.codecs.bitstream import MAX_PIXELS
    from components.codecs.deployed import DeployedCoder
    from components.data.image_files import decode_rgb
    from components.storage.sources import PICTURE_SUFFIXES

    def encode(_: str, data: bytes) -> bytes:
        return coder.encode(decode_rgb(data, max_pixels=MAX_PIXELS))

    if Path(source).is_dir():
        coder = DeployedCoder(codec, bpp=bpp, effort=effort)
        convert(source, target, encode, PICTURE_SUFFIXES, STREAM_SUFFIX, shared_cores)
        return
    with progress(f"effort {effort}") as bar:
        coder = DeployedCoder(codec, bpp=bpp, effort=effort, on_progress=bar)
        convert(source, target, encode, PICTURE_SUFFIXES, STREAM_SUFFIX)


def decompress(source: Input, target: Output, model: ModelOption = None, checkpoint: CheckpointOption = None) -> None:
    """Decompress a bitstream, or every one of a folder, to PNG.

    Without --model or --checkpoint, the codec is the one that wrote the bitstream, from results/ or the registry.
    """
    given = None if model is None and checkpoint is None else codec_named(model, checkpoint)
    known: dict[bytes, DeployedCodec] = {}
    loading = Lock()

    def decode(name: str, data: bytes) -> bytes:
        from components.codecs.bitstream import parse
        from components.codecs.deployed import DeployedCoder
        from components.data.image_files import encode_png

        stream = parse(data)
        with loading:  # the first of a folder's threads loads a model, the others wait for it
            if given is None and stream.model_hash not in known:
                known[stream.model_hash] = codec_of_stream(stream.codec, stream.model_hash)
        if stream.full_length is not None and len(stream.sections[0]) < stream.full_length:
            logger.log(
                logging.INFO if stream.checksum_verified else logging.WARNING, f"{name}: {_completeness(stream)}"
            )
        return encode_png(DeployedCoder(given or known[stream.model_hash]).decode(data))

    convert(source, target, decode, (STREAM_SUFFIX,), ".png", shared_cores)


def truncate(
    source: Input,
    target: Output,
    size: Annotated[int | None, typer.Option("--bytes", help="the largest size of a file")] = None,
    bpp: Annotated[float | None, typer.Option(help="the largest rate of a file, in bits per pixel")] = None,
) -> None:
    """Shorten a progressive bitstream, or every one of a folder.

    The shorter bitstream holds the same picture at a lower quality. Bitstreams that are small enough stay as they are.
    """
    from components.codecs.bitstream import parse
    from components.codecs.coder import byte_budget

    if (size is None) == (bpp is None):
        raise RatewrightError("give the size to keep with --bytes or with --bpp")
    _check_rate(bpp)

    def shorten(_: str, data: bytes) -> bytes:
        stream = parse(data)
        return stream.truncate(byte_budget(bpp, (stream.height, stream.width)) if size is None else size)  # type: ignore[arg-type]

    convert(source, target, shorten, (STREAM_SUFFIX,), STREAM_SUFFIX)


def info(source: Input) -> None:
    """Show the codec, model, size and rate of a bitstream."""
    from components.codecs.bitstream import FORMAT_VERSION, parse

    data = read(source)
    with naming_errors(source):
        stream = parse(data)
    console.print(f"codec       {stream.codec} (format version {FORMAT_VERSION})")
    console.print(f"model       {stream.model_hash.hex()}")
    console.print(f"picture     {stream.width}x{stream.height}")
    console.print(f"bytes       {len(data)} ({8 * len(data) / (stream.width * stream.height):.4f} bpp)")
    console.print(f"sections    {', '.join(str(len(section)) for section in stream.sections)} bytes")
    if stream.full_length is not None:
        console.print(f"progressive {_completeness(stream)}")


def _check_rate(bpp: float | None) -> None:
    if bpp is not None and not 0 < bpp < math.inf:
        raise RatewrightError(f"--bpp {bpp:g}: a rate is a positive number of bits per pixel")


def _completeness(stream: "Bitstream") -> str:
    """How many bytes of a progressive stream are present."""
    present = len(stream.sections[0])
    return f"{present} of {stream.full_length} bytes" + (
        "" if stream.checksum_verified else ": it broke off, no checksum holds"
    )
