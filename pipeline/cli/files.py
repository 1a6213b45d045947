"""Conversion of one file, of standard input, or of every file of a folder."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from components.errors import BitstreamError, RatewrightError
from components.storage.atomic import write_bytes
from pipeline.entry import progress

Sharing = Callable[[int], AbstractContextManager[object]]
"""Makes a context in which that many threads share the cores."""

Conversion = Callable[[str, bytes], bytes]
"""Content of a file, given its name (for messages) and its content before."""


def convert(
    source: str,
    target: str,
    conversion: Conversion,
    suffixes: tuple[str, ...],
    suffix: str,
    sharing: Sharing = nullcontext,
) -> None:
    """Convert a file, or the files of a folder side by side.

    Args:
        source: A file, a folder, or - for standard input.
        target: A file, a folder if `source` is one, or - for standard output.
        conversion: Gives the new content of each.
        suffixes: Files of a folder with one of these suffixes are converted.
        suffix: The suffix of the new files in a folder.
        sharing: Entered while the files of a folder are converted, with the number of threads that do it.

    Raises:
        RatewrightError: A file cannot be converted. The other files of a folder are converted all the same.
    """
    if source != "-" and Path(source).is_dir():
        _convert_folder(Path(target), _targets(Path(source), Path(target), suffixes, suffix), conversion, sharing)
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


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """A context in which `workers` new threads have a share of torch's threads each, and BLAS has one thread.

    Without it each worker runs as many threads as there are cores, and all wait for each other. A codec that limits
    BLAS itself restores the limit that it found, which is another worker's in the midst of its work.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


def _convert_folder(target: Path, targets: dict[Path, Path], conversion: Conversion, sharing: Sharing) -> None:
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
