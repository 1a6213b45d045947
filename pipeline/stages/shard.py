"""The stage `shard`: a data set cut into WebDataset shards in data/shards/, under its own name or another."""

import logging
import os
from pathlib import Path

from components.data.shard_writer import SourceImage, write_shards
from components.distributed.parallel_map import in_processes, on_cluster
from pipeline.config import params
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.stages._data_set import manifest
from pipeline.terminal import progress

logger = logging.getLogger(__name__)


def run(root: Path, dataset: str, name: str | None = None) -> None:
    """Cut every picture of a data set into patches.

    Args:
        root: The checkout.
        dataset: The data set.
        name: The fine-tuned variant that is trained on the patches; None for shards that all other variants share.
    """
    name = name or dataset
    settings, layout = params.load(root), Layout(root)
    raw, out = layout.raw(dataset), layout.shards(name)
    images = [SourceImage(raw / file.name, file.sha256) for file in manifest(raw).files]
    parallel_map = in_processes(os.cpu_count() or 1)
    if settings.launcher == "ray":
        parallel_map = on_cluster(settings.ray.address, settings.ray.wait_s)
    with progress(f"shard {name}") as bar:
        index = write_shards(images, settings.shards, out, seed=settings.seed, parallel_map=parallel_map, progress=bar)
    counts = ", ".join(
        f"{split.samples} {label} patches of {split.images} pictures" for label, split in index.splits.items()
    )
    logger.info("shard %s: %s in %s", name, counts, out)


if __name__ == "__main__":
    stage(run)
