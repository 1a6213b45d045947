"""The small profile as tests read it: never through params.yaml, which says whatever its user last chose."""

import copy
import functools
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.profiles import profile_text

CHECKOUT = Path(__file__).resolve().parents[1]


@functools.cache
def small_text() -> str:
    """The text that `ratewright use small` writes into a checkout without params.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "profiles").symlink_to(CHECKOUT / "profiles")
        return profile_text(Path(folder), "small")


def small_params() -> dict[str, Any]:
    """The same as plain data, a new copy for each caller."""
    return copy.deepcopy(_parsed())


@functools.cache
def _parsed() -> dict[str, Any]:
    return dict(YAML(typ="safe").load(small_text()))
