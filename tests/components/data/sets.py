"""Data sets for the tests of fetching."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.data.dataset import Dataset, NamedDataset


def data_set(
    name: str,
    source: str | None = None,
    files: Sequence[str] | None = None,
    manifest: Path | None = None,
    *,
    mirror: str | None = None,
    **fields: Any,
) -> NamedDataset:
    """A data set by the fields of its definition."""
    names = None if files is None else list(files)
    pinned = None if manifest is None else str(manifest)
    return NamedDataset(name, Dataset(source=source, files=names, manifest=pinned, **fields), mirror)


def changed(dataset: NamedDataset, **fields: Any) -> NamedDataset:
    """The same data set with other fields in its definition."""
    return replace(dataset, definition=Dataset.model_validate({**dataset.definition.model_dump(), **fields}))
