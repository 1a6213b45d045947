"""How every stage starts: its arguments, its folder, and what it imports."""

import gc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from components.training.interrupt import die_with_parent
from pipeline.terminal import guarded, set_up_logging

_VERBOSITY = {"-v": logging.DEBUG, "--verbose": logging.DEBUG, "-q": logging.WARNING, "--quiet": logging.WARNING}


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside, for imports of large libraries.

    They make a million objects that stay, which Python would look through again and again: a quarter of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def stage(run: Callable[..., None]) -> NoReturn:
    """Run a stage in the current folder: `run(root, *arguments of the command line)`, with -v or -q taken out."""
    die_with_parent()
    arguments = [argument for argument in sys.argv[1:] if argument not in _VERBOSITY]
    levels = [_VERBOSITY[argument] for argument in sys.argv[1:] if argument in _VERBOSITY]

    def action() -> None:
        if levels:
            set_up_logging(levels[-1])
        run(Path.cwd(), *arguments)

    guarded(action)
