"""The commands `ratewright regression`: pictures that a registered codec failed on, which the gate looks at."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.project import checkout
from pipeline.terminal import console

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Model = Annotated[str, typer.Argument(help="a registered model, such as image-codec-0.15bpp")]


@app.command()
def add(
    model: Model,
    picture: Annotated[Path, typer.Argument(help="a picture file", exists=True, dir_okay=False)],
    reason: Annotated[str, typer.Option(help="what went wrong with it, in a sentence")],
) -> None:
    """Keep a picture: no later challenger may lose on it, by the rule `regression` of params.yaml."""
    from pipeline.registry import regression_pictures

    regression_pictures.add(checkout(), model, picture, reason)
    console.print(f"{model}: {picture.name} is kept")


@app.command(name="list")
def show(model: Model) -> None:
    """List the kept pictures, and why each is kept."""
    from pipeline.registry import regression_pictures

    for picture in regression_pictures.listed(checkout(), model):
        console.print(f"{picture.name}  {picture.reason}")


@app.command()
def remove(model: Model, name: Annotated[str, typer.Argument(help="the picture's name in the list")]) -> None:
    """Keep a picture no longer."""
    from pipeline.registry import regression_pictures

    regression_pictures.remove(checkout(), model, name)
    console.print(f"{model}: {name} is kept no longer")
