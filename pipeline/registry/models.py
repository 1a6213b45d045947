"""Registered models: versions with tags, and the aliases `champion` and `challenger`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.registry.client import client, in_one_line, uri
from pipeline.registry.model_files import log_model

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
IDENTITY = "checkpoint"
"""Tag of a version: the checkpoint's model hash and gain."""


class RegisteredModel:
    """The versions and aliases of one registered model. Versions are numbers from 1 on, written as text.

    Every method raises TrackingError with one line if the registry does not answer or refuses.
    """

    def __init__(self, root: Path, name: str):
        self.name, self.uri, self._client = name, uri(root), client(root)

    def versions(self) -> list["ModelVersion"]:
        """All versions with their tags, newest first."""
        with in_one_line(self.name):
            found = self._client.search_model_versions(f"name = '{self.name}'")
        return sorted(found, key=lambda version: -int(version.version))

    def version_of(self, identity: str) -> str | None:
        """The version that holds the checkpoint `identity`."""
        return next((str(v.version) for v in self.versions() if v.tags.get(IDENTITY) == identity), None)

    def alias(self, alias: str) -> str | None:
        """The version that an alias points to; None if the alias does not exist."""
        from mlflow.exceptions import MlflowException

        with in_one_line(f"{self.name}@{alias}"):
            try:
                return str(self._client.get_model_version_by_alias(self.name, alias).version)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def aliases(self) -> dict[str, str]:
        """The champion's and the challenger's version, as far as they exist."""
        found = {alias: self.alias(alias) for alias in (CHAMPION, CHALLENGER)}
        return {alias: version for alias, version in found.items() if version is not None}

    def point(self, alias: str, version: str) -> None:
        """Point an alias at a version: one write, which happens or does not."""
        with in_one_line(f"{self.name}@{alias}"):
            self._client.set_registered_model_alias(self.name, alias, version)

    def tags(self, version: str) -> dict[str, str]:
        """The tags of a version."""
        with in_one_line(f"{self.name} version {version}"):
            return dict(self._client.get_model_version(self.name, version).tags)

    def tag(self, version: str, **tags: str) -> None:
        """Set tags of a version."""
        with in_one_line(f"{self.name} version {version}"):
            for key, value in tags.items():
                self._client.set_model_version_tag(self.name, version, key, value)

    def add(self, checkpoint: Path, run_id: str, tags: Mapping[str, str]) -> str:
        """Register a checkpoint as a self-contained model, which carries its code and loads without this checkout.

        Args:
            checkpoint: The .safetensors file.
            run_id: The MLflow run that logs the model.
            tags: Tags of the new version.

        Returns:
            The new version.
        """
        from mlflow.exceptions import MlflowException

        with in_one_line(self.name):
            logged = log_model(checkpoint, run_id)
            try:
                self._client.create_registered_model(self.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                self.name, logged.model_uri, run_id=run_id, tags=dict(tags), model_id=logged.model_id
            )
        return str(version.version)
