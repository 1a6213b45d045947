"""The command `ratewright`."""

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from components.errors import BitstreamError, RatewrightError
from components.storage.atomic import write_bytes
from pipeline.entry import guarded, set_up_logging
from pipeline.paths import CHECKOUT, Layout

if TYPE_CHECKING:
    from rich.table import Table

    from components.codecs.base import Codec
    from components.codecs.bitstream import Bitstream

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

STREAM_SUFFIX = ".rw"
KEPT = Layout(CHECKOUT).kept_model("real")
"""The winner of the reference run."""

ModelOption = Annotated[
    str | None, typer.Option(help="a registered model, such as models:/image-codec-0.15bpp@champion")
]
CheckpointOption = Annotated[Path | None, typer.Option(help="a checkpoint file, in place of a registered model")]
Input = Annotated[str, typer.Argument(help="a file, a folder, or - for standard input")]
Output = Annotated[str, typer.Argument(help="a file, a folder where the input is one, or - for standard output")]


BppOption = Annotated[float | None, typer.Option(help="bits per pixel of every file; progressive codecs only")]


@app.callback()
def _log(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show messages for debugging too")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="show warnings only")] = False,
) -> None:
    """Compress pictures with learned codecs, and look after the models that do it."""
    if verbose and quiet:
        raise RatewrightError("--verbose and --quiet exclude each other")
    # Standard output is for what a command gives, which may be a bitstream.
    set_up_logging(logging.DEBUG if verbose else logging.WARNING if quiet else None, Console(stderr=True))


@app.command()
def compress(
    source: Input,
    target: Output,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    bpp: BppOption = None,
) -> None:
    """Compress a picture, or every picture of a folder; without a model, with the one that this checkout keeps."""
    _check_named_once(model, checkpoint)
    _check_rate(bpp)
    codec = _codec(model, checkpoint)
    if bpp is not None and not codec.progressive:
        raise RatewrightError(f"--bpp is for progressive codecs; {codec.name!r} has the one rate it was calibrated to")

    from components.codecs.coder import LearnedCoder
    from components.data.image_files import decode_rgb
    from components.storage.sources import PICTURE_SUFFIXES

    coder = LearnedCoder(codec, bpp=bpp)
    _convert(source, target, lambda _, data: coder.encode(decode_rgb(data)), PICTURE_SUFFIXES, STREAM_SUFFIX)


@app.command()
def decompress(source: Input, target: Output, model: ModelOption = None, checkpoint: CheckpointOption = None) -> None:
    """Decompress a bitstream, or every one of a folder, to PNG; without a model, with the one that wrote the stream."""
    _check_named_once(model, checkpoint)
    named = None if model is None and checkpoint is None else _codec(model, checkpoint)
    known: dict[bytes, Codec] = {}

    def decode(name: str, data: bytes) -> bytes:
        from components.codecs.bitstream import parse
        from components.codecs.coder import LearnedCoder
        from components.data.image_files import encode_png

        header = parse(data)
        if named is None and header.model_hash not in known:
            known[header.model_hash] = _codec_of_stream(header.codec, header.model_hash)
        if header.whole is not None and len(header.sections[0]) < header.whole:
            typer.echo(f"{name}: {_held(header)}", err=True)
        return encode_png(LearnedCoder(named or known[header.model_hash]).decode(data))

    _convert(source, target, decode, (STREAM_SUFFIX,), ".png")


@app.command()
def truncate(
    source: Input,
    target: Output,
    size: Annotated[int | None, typer.Option("--bytes", help="the largest size of a file")] = None,
    bpp: Annotated[float | None, typer.Option(help="the largest rate of a file, in bits per pixel")] = None,
) -> None:
    """Cut a progressive bitstream, or every one of a folder, to a size; smaller ones stay as they are."""
    from components.codecs.bitstream import parse
    from components.codecs.coder import bytes_at

    if (size is None) == (bpp is None):
        raise RatewrightError("say how much to keep with --bytes or with --bpp")
    _check_rate(bpp)

    def cut(_: str, data: bytes) -> bytes:
        stream = parse(data)
        return stream.cut(bytes_at(bpp, (stream.height, stream.width)) if size is None else size)  # type: ignore[arg-type]

    _convert(source, target, cut, (STREAM_SUFFIX,), STREAM_SUFFIX)


@app.command()
def info(source: Input) -> None:
    """Say what a bitstream's header holds."""
    from components.codecs.bitstream import VERSION, parse
    from pipeline.entry import console

    data = _read(source)
    with _named(source):
        found = parse(data)
    console.print(f"codec       {found.codec} (format version {VERSION})")
    console.print(f"model       {found.model_hash.hex()}")
    console.print(f"picture     {found.width}x{found.height}")
    console.print(f"bytes       {len(data)} ({8 * len(data) / (found.width * found.height):.4f} bpp)")
    console.print(f"sections    {', '.join(str(len(section)) for section in found.sections)} bytes")
    if found.whole is not None:
        console.print(f"progressive {_held(found)}")


@app.command()
def use(
    profile: Annotated[str, typer.Argument(help="a file of profiles/, such as small or real")],
    mirror: Annotated[str | None, typer.Option(help="a folder, or an http(s):// or s3:// prefix")] = None,
) -> None:
    """Write a profile into params.yaml of the checkout."""
    from pipeline.config.profiles import write_profile
    from pipeline.entry import console

    root = _checkout()
    write_profile(root, profile, mirror)
    console.print(f"{root / 'params.yaml'}: profile {profile}" + (f", mirror {mirror}" if mirror else ""))


@app.command()
def leaderboard() -> None:
    """Print the last leaderboard, where the report is, and which model version is champion."""
    from rich.table import Table

    from components.metrics.table import METRICS
    from components.storage.atomic import read_json
    from pipeline.entry import console

    layout = Layout(_checkout())
    board, registered = read_json(layout.leaderboard), read_json(layout.registry)
    table = Table(title=f"{board['test_set']} at {board['target_bpp']:g} bpp", title_justify="left")
    table.add_column("codec", min_width=max((len(row["name"]) for row in board["rows"]), default=0))
    for metric in METRICS.values():
        table.add_column(metric.label + (f", {metric.unit}" if metric.unit else ""), justify="right")
    for row in board["rows"]:
        figures = ("-" if row.get(field) is None else f"{row[field]:.4g}" for field in METRICS)
        winning = row["name"] == board["winner"]
        table.add_row(row["name"], *figures, style="bold" if winning else None)
    if board["rows"]:
        console.print(table)
    if lossless := board.get("lossless"):
        console.print(_lossless_table(board["test_set"], lossless))
    console.print(f"winner    {board['winner']}")
    console.print(f"report    {layout.report / 'index.html'}")
    console.print(f"champion  {registered['model']} version {registered['aliases'].get('champion')}")


def _lossless_table(test_set: str, rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    columns = {
        "bpp": ("Rate, bpp", ".4f"),
        "bits_per_sample": ("bits/sample", ".4f"),
        "share_of_png": ("of PNG", ".1%"),
        "encode_s_per_mpx": ("Encoding, s/Mpx", ".3g"),
        "decode_s_per_mpx": ("Decoding, s/Mpx", ".3g"),
        "parameters": ("Parameters", ","),
    }
    table = Table(title=f"{test_set}, lossless", title_justify="left")
    table.add_column("codec", min_width=max(len(row["name"]) for row in rows))
    for label, _ in columns.values():
        table.add_column(label, justify="right")
    for row in rows:
        figures = ("-" if row[field] is None else format(row[field], spec) for field, (_, spec) in columns.items())
        table.add_row(row["name"], *figures)
    return table


@app.command()
def keep(
    name: Annotated[str, typer.Argument(help="the folder of results/, such as real")],
) -> None:
    """Keep the finished run of the checkout in results/: figures, machine, budget, the winner's checkpoint."""
    from pipeline.entry import console
    from pipeline.reporting.kept_runs import keep as keep_run

    console.print(
        f"kept in {keep_run(_checkout(), name)}; `python -m pipeline.reporting.results_pages --write` renews README"
    )


@app.command()
def rollback(
    model: Annotated[str, typer.Argument(help="a registered model, such as image-codec-0.15bpp")],
) -> None:
    """Make the version that the champion replaced the champion again."""
    from pipeline.entry import console
    from pipeline.registry.models import RegisteredModel
    from pipeline.registry.promotion import roll_back

    before, after = roll_back(RegisteredModel(CHECKOUT, model))
    console.print(f"{model}: champion was version {before}, is version {after}")


def main() -> None:
    """The entry point: exit 0, or 2 with one line on standard error (and the usage, for a mistyped command)."""
    guarded(app)


def _check_named_once(model: str | None, checkpoint: Path | None) -> None:
    if model is not None and checkpoint is not None:
        raise RatewrightError("name the codec with --model or with --checkpoint, not with both")


def _check_rate(bpp: float | None) -> None:
    if bpp is not None and not 0 < bpp < math.inf:
        raise RatewrightError(f"--bpp {bpp:g}: a rate is a positive number of bits per pixel")


def _held(stream: "Bitstream") -> str:
    """How much of a progressive stream there is."""
    held = len(stream.sections[0])
    return f"{held} of {stream.whole} bytes" + ("" if stream.verified else ": it broke off, no checksum holds")


def _checkout() -> Path:
    """The checkout that the current folder is, else the one that this program was installed from."""
    return Path.cwd() if (Path.cwd() / "dvc.yaml").exists() else CHECKOUT


def _codec(model: str | None, checkpoint: Path | None) -> "Codec":
    from components.codecs.checkpoint import load

    if model is not None:
        from pipeline.registry.models import checkpoint_of

        checkpoint = checkpoint_of(CHECKOUT, model)
    elif checkpoint is None:
        checkpoint = KEPT
        if not KEPT.is_file():
            raise RatewrightError(f"no {KEPT}: name the codec with --model or with --checkpoint")
    return load(checkpoint)[0]


def _codec_of_stream(codec: str, model_hash: bytes) -> "Codec":
    """The codec that wrote a stream: the one that this checkout keeps, or one that the registry holds."""
    from components.codecs.checkpoint import load
    from pipeline.registry.models import checkpoint_for_stream

    if KEPT.is_file() and (kept := load(KEPT)[0]).model_hash() == model_hash:
        return kept
    return load(checkpoint_for_stream(CHECKOUT, codec, model_hash))[0]


def _convert(
    source: str, target: str, convert: Callable[[str, bytes], bytes], suffixes: tuple[str, ...], suffix: str
) -> None:
    """Convert (name, content) of one file, or of a folder's files with one of `suffixes`, to names with `suffix`."""
    if source == "-" or not Path(source).is_dir():
        data = _read(source)
        with _named(source):
            converted = convert(source, data)
        _write(target, converted)
        return
    from pipeline.entry import progress

    files = sorted(path for path in Path(source).iterdir() if path.suffix.lower() in suffixes)
    if not files:
        raise RatewrightError(f"{source}: no {', '.join(suffixes)} file in this folder")
    targets = {path: Path(target) / f"{path.stem}{suffix}" for path in files}
    if len(set(targets.values())) < len(files):
        targets = {path: Path(target) / f"{path.name}{suffix}" for path in files}

    def one(path: Path) -> str | None:
        try:
            write_bytes(targets[path], convert(str(path), path.read_bytes()))
        except RatewrightError as error:
            return f"{path}: {error}"
        return None

    failures = []
    with progress(f"{len(files)} files") as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, failure in enumerate(pool.map(one, files), 1):
            failures += [failure] if failure else []
            bar(done, len(files))
    if failures:
        raise RatewrightError(
            f"{len(failures)} of {len(files)} files failed, the others are in {target}: {failures[0]}"
        )


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Say which file an error is about."""
    try:
        yield
    except RatewrightError as error:
        raise RatewrightError(f"{'standard input' if source == '-' else source}: {error}") from error


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except IsADirectoryError as error:
        raise BitstreamError(f"{source} is a folder, a file was expected") from error


def _write(target: str, data: bytes) -> None:
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_bytes(Path(target), data)


if __name__ == "__main__":
    main()
