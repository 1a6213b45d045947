"""The stage `fetch`: one data set from its source or mirror into data/raw/<name>/."""

import logging
from pathlib import Path

from components.data.fetch import fetch
from components.storage.atomic import link_folder, write_bytes
from pipeline.config import params
from pipeline.config.datasets import named_dataset
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.terminal import progress

logger = logging.getLogger(__name__)


def run(root: Path, name: str) -> None:
    """Fetch the data set `name`; what is already there is not downloaded again."""
    settings, layout = params.load(root), Layout(root)
    dataset = named_dataset(root, settings, name)
    # DVC removes the output before a stage runs: downloads are kept outside of it, and linked.
    store, revision = layout.resumable("fetch", name) / "files", layout.resumable("fetch", name) / "revision"
    with progress(f"fetch {name}") as bar:
        manifest = fetch(dataset, store, present=revision.read_text() if revision.exists() else None, progress=bar)
    if dataset.definition.revision is not None:
        write_bytes(revision, dataset.definition.revision.encode())
    link_folder(store, layout.raw(name))
    for file in manifest.undecodable:
        logger.warning("fetch %s: left out %s: %s", name, file.name, file.reason)
    logger.info("fetch %s: %d pictures in %s", name, len(manifest.files), layout.raw(name))


if __name__ == "__main__":
    stage(run)
