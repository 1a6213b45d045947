"""Work on pictures and bitstreams: compress, decompress, truncate, info; whatever names the codec."""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ..codecs.bitstream import FORMAT_VERSION, MAX_PIXELS, Bitstream, byte_budget, parse
from ..codecs.codec_files import DeployedCoder
from ..codecs.effort import DEFAULT_EFFORT
from ..codecs.exported import ExportedCodec
from ..data.image_files import decode_rgb, encode_png
from ..errors import RatewrightError
from ..storage.picture_names import PICTURE_SUFFIXES
from .files import ProgressBar, convert, naming_errors, no_bar, read

if TYPE_CHECKING:
    from ..codecs.codec_files import CodecInUse

STREAM_SUFFIX = ".rw"

logger = logging.getLogger(__name__)


def compress(
    codec: "CodecInUse",
    source: str,
    target: str,
    bpp: float | None = None,
    effort: int = DEFAULT_EFFORT,
    progress: ProgressBar = no_bar,
) -> None:
    """Compress a picture, or every picture of a folder. Raises RatewrightError for a rate that the codec has not."""
    _check_rate(bpp)
    if bpp is not None and not codec.progressive:
        raise RatewrightError(f"--bpp is for progressive codecs; {codec.name!r} has the one rate it was calibrated to")

    def encode(_: str, data: bytes) -> bytes:
        return coder.encode(decode_rgb(data, max_pixels=MAX_PIXELS))

    if Path(source).is_dir():
        coder = DeployedCoder(codec, bpp=bpp, effort=effort)
        convert(source, target, encode, PICTURE_SUFFIXES, STREAM_SUFFIX, progress, _sharing(codec))
        return
    with progress(f"effort {effort}") as bar:
        coder = DeployedCoder(codec, bpp=bpp, effort=effort, on_progress=bar)
        convert(source, target, encode, PICTURE_SUFFIXES, STREAM_SUFFIX)


def decompress(
    given: "CodecInUse | None",
    codec_of_stream: "Callable[[str, bytes], CodecInUse]",
    source: str,
    target: str,
    progress: ProgressBar = no_bar,
) -> None:
    """Decompress a bitstream, or every one of a folder, to PNG.

    Args:
        given: The codec; None for the one that wrote each stream.
        codec_of_stream: Finds that codec, by its name and model hash in the stream's header.
        source: See `convert`.
        target: See `convert`.
        progress: Of a folder.
    """
    known: dict[bytes, CodecInUse] = {}
    loading = Lock()

    def decode(name: str, data: bytes) -> bytes:
        stream = parse(data)
        with loading:  # the first of a folder's threads loads a model, the others wait for it
            if given is None and stream.model_hash not in known:
                known[stream.model_hash] = codec_of_stream(stream.codec, stream.model_hash)
        if stream.full_length is not None and len(stream.sections[0]) < stream.full_length:
            logger.log(
                logging.INFO if stream.checksum_verified else logging.WARNING, f"{name}: {_completeness(stream)}"
            )
        return encode_png(DeployedCoder(given or known[stream.model_hash]).decode(data))

    convert(source, target, decode, (STREAM_SUFFIX,), ".png", progress, _sharing(given))


def truncate(source: str, target: str, size: int | None = None, bpp: float | None = None) -> None:
    """Shorten a progressive bitstream, or every one of a folder.

    Args:
        source: See `convert`.
        target: See `convert`.
        size: The largest size of a file; or None.
        bpp: The largest rate of a file, in bits per pixel; or None.

    Raises:
        RatewrightError: Both are given, or neither is.
    """
    if (size is None) == (bpp is None):
        raise RatewrightError("give the size to keep with --bytes or with --bpp")
    _check_rate(bpp)

    def shorten(_: str, data: bytes) -> bytes:
        stream = parse(data)
        return stream.truncate(byte_budget(bpp, (stream.height, stream.width)) if size is None else size)  # type: ignore[arg-type]

    convert(source, target, shorten, (STREAM_SUFFIX,), STREAM_SUFFIX)


def info(source: str) -> list[str]:
    """The codec, model, size and rate of a bitstream, a line for each."""
    data = read(source)
    with naming_errors(source):
        stream = parse(data)
    lines = [
        f"codec       {stream.codec} (format version {FORMAT_VERSION})",
        f"model       {stream.model_hash.hex()}",
        f"picture     {stream.width}x{stream.height}",
        f"bytes       {len(data)} ({8 * len(data) / (stream.width * stream.height):.4f} bpp)",
        f"sections    {', '.join(str(len(section)) for section in stream.sections)} bytes",
    ]
    return lines if stream.full_length is None else [*lines, f"progressive {_completeness(stream)}"]


def _check_rate(bpp: float | None) -> None:
    if bpp is not None and not 0 < bpp < math.inf:
        raise RatewrightError(f"--bpp {bpp:g}: a rate is a positive number of bits per pixel")


def _completeness(stream: Bitstream) -> str:
    """How many bytes of a progressive stream are present."""
    present = len(stream.sections[0])
    return f"{present} of {stream.full_length} bytes" + (
        "" if stream.checksum_verified else ": it broke off, no checksum holds"
    )


def _sharing(codec: "CodecInUse | None") -> Callable[[int], AbstractContextManager[object]]:
    """How the threads of a folder share the cores: torch has to be told."""
    if isinstance(codec, ExportedCodec):
        return nullcontext
    from .shared_cores import shared_cores

    return shared_cores
