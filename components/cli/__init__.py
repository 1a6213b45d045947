"""The command `ratewright` where the package is installed alone: pictures and bitstreams, by codecs in files."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

from ..codecs.effort import DEFAULT_EFFORT, EFFORTS, Progress
from ..errors import RatewrightError
from . import serving

EXIT_MISTAKE = 2
CODEC_VARIABLE = "RATEWRIGHT_CODEC"
_CHECKOUT = Path(__file__).resolve().parents[2]  # if the package is installed from one, editable


def main() -> None:
    """The entry point: exit 0, or 2 with one line on standard error (and the usage, for a mistyped command).

    In a checkout it is the pipeline's program, with these commands and more.
    """
    if (_CHECKOUT / "dvc.yaml").is_file():
        (whole,) = entry_points(group="ratewright.program")
        whole.load()()
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary files are removed
    try:
        _run(_parser().parse_args())
    except (RatewrightError, OSError) as error:
        sys.exit(_mistake(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ratewright", description="Compress pictures with learned codecs.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, *, target: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("source", help="a file, a folder, or - for standard input")
        if target:
            added.add_argument("target", help="a file, a folder if the source is one, or - for standard output")
        return added

    compress = command("compress", "Compress a picture, or every picture of a folder.")
    decompress = command("decompress", "Decompress a bitstream, or every one of a folder, to PNG.")
    truncate = command("truncate", "Shorten a progressive bitstream, or every one of a folder.")
    command("info", "Show the codec, model, size and rate of a bitstream.", target=False)
    text = "Serve a codec over HTTP, which takes the extra `serve`."
    serve = commands.add_parser("serve", help=text, description=text)
    known = os.environ.get(CODEC_VARIABLE)
    which = f"an exported folder, or a checkpoint where torch is installed; by default {CODEC_VARIABLE}"
    for each in (compress, decompress):
        each.add_argument("--codec", type=Path, default=known, help=which)
    serve.add_argument("codec", nargs="?", type=Path, default=known, help=which)
    serving.add_arguments(serve)
    compress.add_argument("--bpp", type=float, help="size of every file in bits per pixel; for progressive codecs only")
    compress.add_argument("--effort", type=int, choices=EFFORTS, default=DEFAULT_EFFORT, help="work of the encoder")
    truncate.add_argument("--bytes", type=int, dest="size", help="the largest size of a file")
    truncate.add_argument("--bpp", type=float, help="the largest rate of a file, in bits per pixel")
    return parser


def _run(given: argparse.Namespace) -> None:
    from ..codecs.codec_files import open_codec
    from . import coding

    if given.command == "info":
        print(*coding.info(given.source), sep="\n")  # noqa: T201
        return
    if given.command == "truncate":
        coding.truncate(given.source, given.target, given.size, given.bpp)
        return
    if given.codec is None:
        option = "" if given.command == "serve" else "with --codec or "
        raise RatewrightError(f"name the codec {option}in {CODEC_VARIABLE}")
    if given.command == "serve":
        serving.run(given)
        return
    codec = open_codec(Path(given.codec))
    if given.command == "compress":
        coding.compress(codec, given.source, given.target, given.bpp, given.effort, _counter)
    else:
        coding.decompress(codec, lambda *_: codec, given.source, given.target, _counter)


@contextmanager
def _counter(label: str) -> Iterator[Progress]:
    """A line on a terminal; elsewhere nothing."""
    shown = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if shown:
            print(f"\r{label}: {done} of {total}", end="", file=sys.stderr, flush=True)  # noqa: T201

    yield show
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr)  # noqa: T201


def _mistake(error: Exception) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
    return EXIT_MISTAKE


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
