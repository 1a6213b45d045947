"""The data sets of params.yaml as the fetching code takes them, and which of them changed at their source."""

from pathlib import Path

from components.data.dataset import FetchSpec, revision_of
from components.errors import RatewrightError
from pipeline.config import params


def fetch_spec(root: Path, settings: params.Params, name: str) -> FetchSpec:
    """The data set `name`. Raises RatewrightError."""
    if name not in settings.datasets:
        raise RatewrightError(f"{params.FILE}: no data set {name!r}; there are {', '.join(settings.datasets)}")
    dataset = settings.datasets[name]
    return FetchSpec(
        name=name,
        source=dataset.source,
        files=dataset.files,
        manifest=None if dataset.manifest is None else root / dataset.manifest,
        mirror=settings.mirror,
        max_loss=dataset.max_loss,
        members=dataset.members,
        revision=dataset.revision,
    )


def changed_revisions(root: Path, settings: params.Params) -> dict[str, str]:
    """Today's revision of every data set that params.yaml knows at another one. Raises SourceError."""
    today = {name: revision_of(fetch_spec(root, settings, name)) for name in settings.datasets}
    return {name: revision for name, revision in today.items() if revision != settings.datasets[name].revision}
