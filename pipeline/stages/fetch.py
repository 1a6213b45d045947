"""The stage `fetch`: one data set from its source or mirror into data/raw/<name>/."""

from pathlib import Path

from components.data.fetch import fetch
from components.storage.atomic import link_folder, write_bytes
from pipeline.config import params
from pipeline.config.datasets import named_dataset
from pipeline.entry import console, progress, stage
from pipeline.paths import Layout


def run(root: Path, name: str) -> None:
    """Fetch the data set `name`; what is already there is not downloaded again."""
    settings, layout = params.load(root), Layout(root)
    dataset = named_dataset(root, settings, name)
    # DVC clears the output before a stage runs: what was downloaded stays where it does not look.
    store, revision = layout.resumable("fetch", name) / "files", layout.resumable("fetch", name) / "revision"
    with progress(f"fetch {name}") as bar:
        manifest = fetch(dataset, store, present=revision.read_text() if revision.exists() else None, progress=bar)
    if dataset.definition.revision is not None:
        write_bytes(revision, dataset.definition.revision.encode())
    link_folder(store, layout.raw(name))
    for file in manifest.undecodable:
        console.print(f"fetch {name}: left out {file.name}: {file.reason}")
    console.print(f"fetch {name}: {len(manifest.files)} pictures in {layout.raw(name)}")


if __name__ == "__main__":
    stage(run)
