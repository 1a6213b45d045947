"""The data sets of params.yaml under their names, and those that changed at their source."""

import logging
from pathlib import Path

from components.data.dataset import NamedDataset, revision_of
from components.errors import RatewrightError, SourceError
from pipeline.config import params

logger = logging.getLogger(__name__)


def named_dataset(root: Path, settings: params.Params, name: str) -> NamedDataset:
    """The data set `name` of the checkout at `root`. Raises RatewrightError where params.yaml does not define it."""
    if name not in settings.datasets:
        raise RatewrightError(f"{params.FILE}: no data set {name!r}; there are {', '.join(settings.datasets)}")
    return NamedDataset(name, settings.datasets[name], settings.mirror, root)


def changed_revisions(root: Path, settings: params.Params, keep_known: bool = False) -> dict[str, str]:
    """The present revision of every data set for which params.yaml has another one.

    Args:
        root: The checkout.
        settings: Its parameters.
        keep_known: Whether a source that does not answer keeps the revision that params.yaml has, with a warning.

    Raises:
        SourceError: A source does not answer, and its revision is not known or not to be kept.
    """
    changed = {}
    for name, definition in settings.datasets.items():
        dataset = named_dataset(root, settings, name)
        dataset.listing()  # a wrong manifest is a mistake in the checkout, whatever the source does
        try:
            present = revision_of(dataset)
        except SourceError as error:
            if definition.revision is None or not keep_known:
                raise
            logger.warning(f"{name}: going on with the known revision {definition.revision}, since {error}")
            continue
        if present != definition.revision:
            changed[name] = present
    return changed
