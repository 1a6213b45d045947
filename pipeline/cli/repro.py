"""The command `ratewright repro`."""

import signal
from typing import Annotated

import typer

from components.errors import RatewrightError
from pipeline.cli.project import checkout
from pipeline.terminal import console


def repro(
    stages: Annotated[
        list[str] | None,
        typer.Argument(help="stages, such as train or train@wcae, with what they need; all by default"),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="stages at a time; by default, cores over `threads` of params.yaml")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="go on with what does not need a failed stage")
    ] = False,
) -> None:
    """Run the stages that changed, as `dvc repro` does, but several at a time.

    Ctrl-C stops all of them, and the same command goes on. The output of each stage is in work/logs.
    """
    from pipeline.cli.repro_display import TAIL, display_on, tail
    from pipeline.config import params
    from pipeline.schedule.local.demands import capacity, demands
    from pipeline.schedule.local.repro import reproduce

    root = checkout()
    settings = params.load(root)
    machine = capacity(settings, jobs)
    summary = reproduce(
        root,
        stages or [],
        machine,
        lambda nodes: demands(settings, nodes, machine),
        display_on(console),
        keep_going=keep_going,
    )
    for name in summary.failed:
        console.print(f"--- the last {TAIL} lines of {summary.log(name)}")
        console.print(tail(summary.log(name)))
    left = f"; {len(summary.never_started)} stages were not started" if summary.never_started else ""
    if summary.failed:
        why = "; ".join(f"{name} failed: {outcome.why}" for name, outcome in summary.failed.items())
        raise RatewrightError(f"{why}{left}. The same command goes on")
    if summary.stopped:
        console.print(f"stopped{left}. The same command goes on")
        raise SystemExit(128 + signal.SIGINT)
