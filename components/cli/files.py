"""Conversion of one file, of standard input, or of every file of a folder."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from ..codecs.effort import Progress, no_progress
from ..errors import BitstreamError, RatewrightError
from ..storage.atomic import write_bytes

ProgressBar = Callable[[str], AbstractContextManager[Progress]]
"""Shows, under a label, how many units of work of all are done."""

Sharing = Callable[[int], AbstractContextManager[object]]
"""Makes a context in which that many threads share the cores."""

Conversion = Callable[[str, bytes], bytes]
"""Content of a file, given its name (for messages) and its content before."""


@contextmanager
def no_bar(label: str) -> Iterator[Progress]:  # noqa: ARG001
    """Shows nothing."""
    yield no_progress


def convert(
    source: str,
    target: str,
    conversion: Conversion,
    suffixes: tuple[str, ...],
    suffix: str,
    progress: ProgressBar = no_bar,
    sharing: Sharing = nullcontext,
) -> None:
    """Convert a file, or the files of a folder side by side.

    Args:
        source: A file, a folder, or - for standard input.
        target: A file, a folder if `source` is one, or - for standard output.
        conversion: Gives the new content of each.
        suffixes: Files of a folder with one of these suffixes are converted.
        suffix: The suffix of the new files in a folder.
        progress: Of a folder.
        sharing: Entered while the files of a folder are converted, with the number of threads that do it.

    Raises:
        RatewrightError: A file cannot be converted. The other files of a folder are converted all the same.
    """
    if source != "-" and Path(source).is_dir():
        targets = _targets(Path(source), Path(target), suffixes, suffix)
        _convert_folder(Path(target), targets, conversion, progress, sharing)
        return
    data = read(source)
    with naming_errors(source):
        converted = conversion(source, data)
    _write(target, converted)


def read(source: str) -> bytes:
    """The content of a file or, for -, of standard input."""
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except IsADirectoryError as error:
        raise BitstreamError(f"{source} is a folder, a file was expected") from error


@contextmanager
def naming_errors(source: str) -> Iterator[None]:
    """Put the file's name in front of errors."""
    try:
        yield
    except RatewrightError as error:
        raise RatewrightError(f"{'standard input' if source == '-' else source}: {error}") from error


def _write(target: str, data: bytes) -> None:
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_bytes(Path(target), data)


def _convert_folder(
    target: Path, targets: dict[Path, Path], conversion: Conversion, progress: ProgressBar, sharing: Sharing
) -> None:
    def convert_one(path: Path) -> str | None:
        try:
            write_bytes(targets[path], conversion(str(path), path.read_bytes()))
        except RatewrightError as error:
            return f"{path}: {error}"
        return None

    failures, workers = [], min(len(targets), len(os.sched_getaffinity(0)))
    with progress(f"{len(targets)} files") as bar, sharing(workers), ThreadPoolExecutor(workers) as pool:
        for done, failure in enumerate(pool.map(convert_one, targets), 1):
            failures += [failure] if failure else []
            bar(done, len(targets))
    if failures:
        raise RatewrightError(
            f"{len(failures)} of {len(targets)} files failed, the others are in {target}: {failures[0]}"
        )


def _targets(source: Path, target: Path, suffixes: tuple[str, ...], suffix: str) -> dict[Path, Path]:
    """The new file of each file in a folder; the old suffix stays in the names if two would be the same without."""
    files = sorted(path for path in source.iterdir() if path.suffix.lower() in suffixes)
    if not files:
        raise RatewrightError(f"{source}: no {', '.join(suffixes)} file in this folder")
    targets = {path: target / f"{path.stem}{suffix}" for path in files}
    if len(set(targets.values())) < len(files):
        return {path: target / f"{path.name}{suffix}" for path in files}
    return targets
