"""Commands on a checkout of the pipeline and its registry: use, leaderboard, compare, keep, rollback, gc."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.paths import CHECKOUT, Layout
from pipeline.terminal import console


def use(
    profile: Annotated[str, typer.Argument(help="a file of profiles/, such as small or real")],
    mirror: Annotated[
        str | None, typer.Option(help="where data sets are fetched from: a folder, or an http(s):// or s3:// prefix")
    ] = None,
) -> None:
    """Select a profile of the pipeline.

    Its data sets, codecs, baselines and training budgets replace those in params.yaml.
    """
    from pipeline.config.profiles import write_profile

    root = checkout()
    write_profile(root, profile, mirror)
    console.print(f"{root / 'params.yaml'}: profile {profile}" + (f", mirror {mirror}" if mirror else ""))


def leaderboard() -> None:
    """Show the last results: the ranking, the report, the champion."""
    from pipeline.cli.tables import lossless_table, lossy_table
    from pipeline.documents import Leaderboard, RegistryRecord, read

    layout = Layout(checkout())
    board, record = read(Leaderboard, layout.leaderboard), read(RegistryRecord, layout.registry)
    if board.rows:
        console.print(lossy_table(board))
    if board.lossless:
        console.print(lossless_table(board))
    console.print(f"winner    {board.winner}")
    console.print(f"report    {layout.report / 'index.html'}")
    console.print(f"champion  {record.model} version {record.aliases.get('champion')}")


def compare(
    codec: Annotated[str, typer.Argument(help="a variant or a baseline")],
    other: Annotated[str, typer.Argument(help="the one that it is compared with")],
    kept: Annotated[str | None, typer.Option(help="a kept run, a folder of results/; otherwise the last run")] = None,
) -> None:
    """Show how two codecs differ at the target rate: CODEC less OTHER, over the pictures of each test set.

    The interval holds 95 % of what other pictures like these would give (bootstrap over pictures).
    """
    from pipeline.cli.tables import differences_table
    from pipeline.reporting.differences import differences, rows_of

    root = checkout()
    found = differences(rows_of(root, codec, kept), rows_of(root, other, kept))
    for test_set, figures in found.items():
        console.print(differences_table(f"{codec} less {other}", test_set, figures))


def keep(name: Annotated[str, typer.Argument(help="the name of the run, a folder of results/, such as real")]) -> None:
    """Archive the finished run in results/.

    The archive holds the run's figures, machine and budget, and the winner's checkpoint. A run is refused if its
    variants were trained on several commits, or if dvc.lock, checkpoints, calibrations and the leaderboard disagree.
    """
    from pipeline.reporting.kept_runs import keep as keep_run

    folder = keep_run(checkout(), name)
    console.print(f"kept in {folder}; `make results` renews the tables and plots")


def rollback(
    model: Annotated[str, typer.Argument(help="a registered model, such as image-codec-0.15bpp")],
) -> None:
    """Restore the previous champion of a registered model."""
    from pipeline.registry.models import RegisteredModel
    from pipeline.registry.promotion import roll_back

    before, after = roll_back(RegisteredModel(CHECKOUT, model))
    console.print(f"{model}: champion was version {before}, is version {after}")


def gc(yes: Annotated[bool, typer.Option("--yes", help="delete what the table lists")] = False) -> None:
    """List what nothing needs any more, with its size, and delete it with --yes.

    These are clones, refs and MLflow runs of retrainings that failed, outputs of stages that are gone, temporary files
    of broken writes, and objects of DVC's cache. Registered versions and what a run in progress uses stay.
    """
    from pipeline.cli.tables import garbage_table
    from pipeline.schedule.garbage import garbage

    found = garbage(checkout())
    if not found:
        console.print("nothing to delete")
        return
    console.print(garbage_table(found))
    for each in found if yes else ():
        each.remove()
    total = sum(each.bytes for each in found)
    console.print(f"{'freed' if yes else '`ratewright gc --yes` frees'} {total:,} bytes")


def checkout() -> Path:
    """The current folder if it is a checkout, otherwise the checkout that this program was installed from."""
    return Path.cwd() if (Path.cwd() / "dvc.yaml").exists() else CHECKOUT
