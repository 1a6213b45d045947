"""Registered models: versions with tags, the aliases `champion` and `challenger`, and their checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.registry.client import TrackingError, client, first_line, in_one_line, uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
IDENTITY = "checkpoint"
"""Tag of a version: the checkpoint's model hash and gain."""

_PACKAGES = ("mlflow", "numpy", "torch", "constriction", "safetensors", "pillow", "pywavelets")
"""Packages that a process needs to run a registered model."""


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
        """Register a checkpoint as a self-contained model, which loads without this checkout.

        Args:
            checkpoint: The .safetensors file.
            run_id: The MLflow run that logs the model.
            tags: Tags of the new version.

        Returns:
            The new version.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        here = Path(__file__).parent
        with in_one_line(self.name):
            with mlflow.start_run(run_id=run_id):
                logged = mlflow.pyfunc.log_model(
                    name="codec",
                    python_model=str(here / "pyfunc_model.py"),
                    artifacts={"codec": str(checkpoint)},
                    code_paths=[str(here.parents[1] / "components")],
                    pip_requirements=_requirements(),
                )
            try:
                self._client.create_registered_model(self.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                self.name, logged.model_uri, run_id=run_id, tags=dict(tags), model_id=logged.model_id
            )
        return str(version.version)


def checkpoint_of(root: Path, model_uri: str) -> Path:
    """The checkpoint of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, downloaded unless it is on this machine."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client(root)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(f"{model_uri.rstrip('/')}/artifacts"))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"{model_uri}: not found in {uri(root)} ({first_line(error)})") from error
    return next(folder.glob("*.safetensors"))


def checkpoint_for_stream(root: Path, codec: str, model_hash: bytes) -> Path:
    """The registered checkpoint that wrote a stream.

    Args:
        root: The checkout.
        codec: The codec's name in the stream's header, for the error's text.
        model_hash: The model hash in the stream's header.

    Raises:
        TrackingError: No registered version has this model hash.
    """
    with in_one_line(uri(root)):
        found = client(root).search_model_versions(f"tags.model_hash = '{model_hash.hex()}'")
    if not found:
        raise TrackingError(
            f"the stream was written by {codec} model {model_hash.hex()}, which {uri(root)} does not hold; "
            "name it with --model or --checkpoint"
        )
    return checkpoint_of(root, f"models:/{found[0].name}/{found[0].version}")


def _requirements() -> list[str]:
    """The packages of a registered model, at the versions installed here."""
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in _PACKAGES]
