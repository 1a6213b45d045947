"""The stage `fetch`: one data set from its source or mirror into data/raw/<name>/."""

from pathlib import Path

from components.errors import RatewrightError
from components.images.fetch import FetchSpec, fetch
from pipeline import params
from pipeline.console import console, progress
from pipeline.entry import stage
from pipeline.layout import Layout


def run(root: Path, name: str) -> None:
    """Fetch the data set `name`; what is already there is not downloaded again."""
    settings = params.load(root)
    if name not in settings.datasets:
        raise RatewrightError(f"{params.FILE}: no data set {name!r}; there are {', '.join(settings.datasets)}")
    dataset = settings.datasets[name]
    spec = FetchSpec(
        name=name,
        source=dataset.source,
        files=dataset.files,
        manifest=None if dataset.manifest is None else root / dataset.manifest,
        mirror=settings.mirror,
        max_loss=dataset.max_loss,
        members=dataset.members,
    )
    out = Layout(root).raw(name)
    with progress(f"fetch {name}") as bar:
        manifest = fetch(spec, out, progress=bar)
    for lost in manifest.lost:
        console.print(f"fetch {name}: left out {lost.name}: {lost.reason}")
    console.print(f"fetch {name}: {len(manifest.files)} pictures in {out}")


if __name__ == "__main__":
    stage(run)
