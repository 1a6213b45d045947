"""The command `ratewright`."""

import logging
from typing import Annotated

import typer
from rich.console import Console

from components.errors import RatewrightError
from pipeline.cli.coding import compress, decompress, export, info, truncate
from pipeline.cli.project import compare, gc, keep, leaderboard, rollback, use
from pipeline.cli.regression import app as regression
from pipeline.cli.repro import repro
from pipeline.cli.serving import serve
from pipeline.cli.sweep import sweep
from pipeline.terminal import guarded, set_up_logging

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
_FILES = (compress, decompress, truncate, info, export, serve)
_CHECKOUT = (use, repro, sweep, leaderboard, compare, keep, rollback, gc)
for _command in (*_FILES, *_CHECKOUT):
    app.command()(_command)
app.add_typer(regression, name="regression", help="Keep pictures that a registered codec failed on, for the gate.")


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show messages for debugging too")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="show warnings and errors only")] = False,
) -> None:
    """Compress pictures with learned codecs, and manage the pipeline that trains them.

    compress, decompress, truncate, info, export and serve work on files; use, repro, sweep, leaderboard, compare, keep,
    rollback, gc and regression on a checkout of the pipeline and its registry of models.
    """
    if verbose and quiet:
        raise RatewrightError("--verbose and --quiet exclude each other")
    # Messages go to standard error: standard output is for results, and a result may be a bitstream.
    set_up_logging(logging.DEBUG if verbose else logging.WARNING if quiet else None, Console(stderr=True))


def main() -> None:
    """The entry point: exit 0, or 2 with one line on standard error (and the usage, for a mistyped command)."""
    guarded(app)
