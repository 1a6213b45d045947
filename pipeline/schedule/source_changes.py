"""How a data set changed at its source since its pictures were last measured, without downloading any."""

import logging
from contextlib import closing
from pathlib import Path

from components.data.dataset import archive_of
from components.data.listing import kind_of
from components.data.validation.statistics import MeasuredSet
from pipeline.config.datasets import named_dataset
from pipeline.config.params import Params
from pipeline.registry import measured_sets
from pipeline.registry.client import TrackingError

logger = logging.getLogger(__name__)


def source_change(root: Path, settings: Params, name: str) -> str:
    """The change in words; empty where no run measured the set, or MLflow does not answer, which is a warning.

    Args:
        root: The checkout.
        settings: Its parameters.
        name: The data set.

    Raises:
        SourceError: The source does not answer.
    """
    try:
        before = measured_sets.previous(root, name)
    except TrackingError as error:
        logger.warning("sources: how %s changed is not known: %s", name, error)
        return ""
    if before is None:
        return ""
    dataset = named_dataset(root, settings, name)
    listing = dataset.listing()
    with closing(dataset.open(listing)) as source:
        present = set(dataset.file_names(listing.hashes, source))
    return _difference(before, present, listing.hashes)


def _difference(before: MeasuredSet, present: set[str], hashes: dict[str, str]) -> str:
    """The difference of files, in words.

    Args:
        before: The set as it was measured.
        present: Names of the files at the source, archives included.
        hashes: Name -> the hash that a file must have, of those that a manifest pins.
    """
    names = [*(picture.source_name for picture in before.pictures.values()), *before.undecodable]
    known = {archive_of(name) or name for name in names}
    sha256s = {name: expected for name, expected in hashes.items() if kind_of(expected) == "sha256"}
    replaced = sum(
        sha256s.get(picture.source_name, picture.source_sha256) != picture.source_sha256
        for picture in before.pictures.values()
    )
    pinned = f"{replaced} replaced" if hashes else "others perhaps replaced"
    since = before.revision or before.content[:12]
    return f"{len(present - known)} files are new, {len(known - present)} gone, {pinned}, since {since} of {len(known)}"
