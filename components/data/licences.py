"""The licence and credit of each picture, as a manifest in the checkout or its data set's definition names them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import SourceError
from .dataset import NamedDataset, archive_of
from .manifest import FetchedFile

_ASKS_FOR_CREDIT = re.compile(r"\bBY\b")
"""In the names of Creative Commons' licences."""


class Terms(NamedTuple):
    """What a picture may be used under."""

    licence: str | None
    """Its name."""
    credit: str | None
    """Who made the picture, in the words that were asked for."""

    @property
    def complete(self) -> bool:
        """Whether there is a licence, and a credit where the licence asks for one."""
        if not self.licence or self.licence.lower().startswith("none"):  # "None stated"
            return False
        return bool(self.credit) or not _ASKS_FOR_CREDIT.search(self.licence)


def unlicensed(dataset: NamedDataset, files: Sequence[FetchedFile]) -> list[str]:
    """Names of the pictures without a licence, or without the credit that it asks for.

    Args:
        dataset: the data set.
        files: its fetched pictures.

    Raises:
        SourceError: a manifest cannot be read.
    """
    definition, own = dataset.definition, _terms_of_files(dataset)
    for_all = Terms(definition.licence, definition.credit)
    missing = []
    for file in files:
        terms = own.get(archive_of(file.source_name) or file.source_name, for_all)
        complete = Terms(terms.licence or for_all.licence, terms.credit or for_all.credit).complete
        if not complete:
            missing.append(file.name)
    return missing


def _terms_of_files(dataset: NamedDataset) -> dict[str, Terms]:
    """The terms of each file at the source that a manifest lists."""
    manifests = dataset.definition.manifest
    if manifests is None:
        return {}
    if isinstance(manifests, str):
        return _terms_in(dataset.root / manifests)
    paths = [dataset.root / path for path in manifests]
    return {f"{path.stem}/{name}": terms for path in paths for name, terms in _terms_in(path).items()}


def _terms_in(path: Path) -> dict[str, Terms]:
    """The terms of each file in a manifest. `license` above the files counts where no file has its own."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        files = content["files"]
        apart = any("license" in file for file in files)
        for_all = None if apart else content.get("license")
        return {
            file["name"]: Terms(file.get("license", for_all), file.get("credit", content.get("credit")))
            for file in files
        }
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{path}: not a manifest with files of a name each") from error
