"""A registered model as the source of a service, which follows the promotions of an alias."""

import re
from functools import cached_property, partial
from pathlib import Path

from components.serving.source import Opener
from pipeline.registry.client import TrackingError
from pipeline.registry.loading import download, downloaded_codec
from pipeline.registry.models import RegisteredModel

SCHEME = "models:/"
_ADDRESS = re.compile(rf"{SCHEME}(?P<model>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


class FollowedModel:
    """A ModelSource: `models:/NAME@ALIAS`, or `models:/NAME/VERSION`, which stays as it is.

    Labels are the numbers of versions.

    Args:
        root: The checkout.
        model_uri: The address.

    Raises:
        TrackingError: It has another form.
    """

    def __init__(self, root: Path, model_uri: str):
        found = _ADDRESS.fullmatch(model_uri)
        if found is None:
            raise TrackingError(f"{model_uri}: a registered model is {SCHEME}NAME@ALIAS or {SCHEME}NAME/VERSION")
        self.name, self._root = model_uri, root
        self._model, self._alias, self._version = found["model"], found["alias"], found["version"]

    def newest(self) -> str:
        """The version that the alias points to. Raises TrackingError."""
        version = self._version or self._registered.alias(self._alias)
        if version is None:
            raise TrackingError(f"{self.name}: {self._registered.uri} has no such alias")
        return str(version)

    def fetch(self, label: str, folder: Path) -> Opener:
        """Download a version. Raises TrackingError."""
        address = f"{SCHEME}{self._model}/{label}"
        return partial(downloaded_codec, download(self._root, address, folder), address)

    @cached_property
    def _registered(self) -> RegisteredModel:
        return RegisteredModel(self._root, self._model)
