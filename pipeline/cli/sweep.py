"""The command sweep: a grid of params, or points of it at random, as DVC experiments."""

import signal
from typing import Annotated

import typer

from components.errors import RatewrightError
from pipeline.cli.project import checkout
from pipeline.terminal import console


def sweep(
    stages: Annotated[
        list[str] | None, typer.Argument(help="stages to run, such as evaluate@wcae; otherwise what the keys change")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", metavar="KEY=V1,V2", help="a key of params.yaml and its values; repeatable"),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--random", min=1, help="draw this many points, also from ranges such as 0.001..0.01")
    ] = None,
    seed: Annotated[int, typer.Option(help="of --random")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="stages at a time; by default, cores over `threads` of params.yaml")
    ] = None,
    name: Annotated[str | None, typer.Option(help="the beginning of the experiments' names")] = None,
) -> None:
    """Run every combination of params as a DVC experiment, and show what each reached.

    The workspace stays as it is. The same command goes on with a sweep that was stopped or had failures: finished
    experiments stay, and trainings go on from their saved state.
    """
    from pipeline.cli.repro_display import display_on
    from pipeline.cli.tables import sweep_table
    from pipeline.config import params
    from pipeline.schedule.git import Repository
    from pipeline.schedule.local.demands import capacity
    from pipeline.schedule.sweeps.grid import axis, draw, grid
    from pipeline.schedule.sweeps.sweep import Sweep
    from pipeline.schedule.sweeps.sweep_plan import plan

    axes = [axis(setting) for setting in settings or []]
    if not axes:
        raise RatewrightError("name the keys and their values with -S KEY=VALUE,VALUE")
    if len({each.key.removeprefix("+") for each in axes}) < len(axes):
        raise RatewrightError("-S: a key is there twice; give its values in one setting, KEY=VALUE,VALUE")
    points = grid(axes) if count is None else draw(axes, count, seed)
    root = checkout()
    experiments = plan(Repository(root), points, stages or [], name)
    running = Sweep(Repository(root), experiments, capacity(params.load(root), jobs), display_on(console))
    running.run()
    if running.stopped:
        console.print("stopped; the same command goes on")
        raise SystemExit(128 + signal.SIGINT)
    console.print(sweep_table(running.measured()))
    if failures := running.failures:
        (name, why), *others = failures.items()
        more = f", and {len(others)} more" if others else ""
        raise RatewrightError(f"{name}: {why}{more}. The same command tries again what failed")
