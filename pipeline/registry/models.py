"""Registered models: versions with tags, and the aliases `champion` and `challenger`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.codecs.model_card import Evidence, model_card
from components.errors import RatewrightError
from pipeline.registry.client import client, in_one_line, uri
from pipeline.registry.model_files import CARD, log_model

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from components.codecs.base import Codec

CHAMPION, CHALLENGER = "champion", "challenger"
IDENTITY = "checkpoint"
"""Tag of a version: the checkpoint's model hash and gain."""
_LONGEST_DESCRIPTION = 5000
"""Characters of a version's description that MLflow's databases hold."""
_USE = """import mlflow

codec = mlflow.pyfunc.load_model("{uri}")
[stream] = codec.predict([open("photo.png", "rb").read()])  # a picture file in, a bitstream out
[png] = codec.predict([stream])  # and back"""

logger = logging.getLogger(__name__)


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

    def add(self, checkpoint: Path, run_id: str, tags: Mapping[str, str], evidence: Evidence | None = None) -> str:
        """Register a checkpoint as a self-contained model, which carries its code and loads without this checkout.

        Its exported form, where the codec has one, runs without torch. Its description is a model card.

        Args:
            checkpoint: The .safetensors file.
            run_id: The MLflow run that logs the model.
            tags: Tags of the new version.
            evidence: What the card says beside the checkpoint's facts.

        Returns:
            The new version.
        """
        from mlflow.exceptions import MlflowException

        from components.codecs.checkpoint import load

        codec, facts = load(checkpoint)
        use = _USE.format(uri=f"models:/{self.name}@{CHAMPION}")
        card = model_card(codec.name, codec.model_hash().hex(), codec.gain.item(), facts, use, evidence)
        with in_one_line(self.name), TemporaryDirectory() as folder:
            logged = log_model(checkpoint, run_id, card, _exported(codec, Path(folder)))
            try:
                self._client.create_registered_model(self.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                self.name,
                logged.model_uri,
                run_id=run_id,
                tags=dict(tags),
                description=_shortened(card),
                model_id=logged.model_id,
            )
        return str(version.version)


def _exported(codec: "Codec", folder: Path) -> Path | None:
    """The codec's exported form in a folder; None for a codec that has none."""
    from components.codecs.export import export

    try:
        export(codec, folder / "exported")
    except RatewrightError as error:
        logger.info("%s: registered for programs with torch alone", error)
        return None
    return folder / "exported"


def _shortened(card: str) -> str:
    """As many sections of a card as a description holds."""
    if len(card) <= _LONGEST_DESCRIPTION:
        return card
    further = f"\n\nThe rest is in artifacts/{CARD}."
    sections = card[: _LONGEST_DESCRIPTION - len(further)]
    return sections[: sections.rindex("\n\n## ")] + further
