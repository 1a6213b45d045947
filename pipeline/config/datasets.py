"""The data sets of params.yaml under their names, and those that changed at their source."""

from pathlib import Path

from components.data.dataset import NamedDataset, revision_of
from components.errors import RatewrightError
from pipeline.config import params


def named_dataset(root: Path, settings: params.Params, name: str) -> NamedDataset:
    """The data set `name` of the checkout at `root`. Raises RatewrightError where params.yaml does not define it."""
    if name not in settings.datasets:
        raise RatewrightError(f"{params.FILE}: no data set {name!r}; there are {', '.join(settings.datasets)}")
    return NamedDataset(name, settings.datasets[name], settings.mirror, root)


def changed_revisions(root: Path, settings: params.Params) -> dict[str, str]:
    """The present revision of every data set for which params.yaml has another one. Raises SourceError."""
    today = {name: revision_of(named_dataset(root, settings, name)) for name in settings.datasets}
    return {name: revision for name, revision in today.items() if revision != settings.datasets[name].revision}
