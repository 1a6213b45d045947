"""The stage graphs as plain data: what Airflow and the local runner know of a stage, without DVC."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.errors import RatewrightError

RETRIES = 2
"""Further attempts of a failed stage whose `meta` names no other number."""
LONGEST_HOURS = 12.0
"""The longest time of a stage whose `meta` names no other."""


@dataclass(frozen=True)
class StageNode:
    """One stage instance of dvc.yaml. Its last three fields are the keys that the stage's `meta` may have."""

    name: str
    """DVC's name of the instance, such as train@wcae."""
    upstream: tuple[str, ...]
    """Names of the instances whose outputs this one reads, sorted."""
    accelerator: bool = False
    """Whether it trains, and so takes GPUs for itself where trainings run on GPUs."""
    retries: int = RETRIES
    """Further attempts of a scheduler that nobody watches, after the first one failed."""
    longest_hours: float = LONGEST_HOURS
    """Hours of its command after which it counts as hung, and is stopped."""

    @classmethod
    def of_meta(cls, name: str, upstream: tuple[str, ...], meta: Mapping[str, Any]) -> "StageNode":
        """A node with what the `meta` of its stage says. Raises RatewrightError for an unknown key or a wrong value."""
        for key, value in meta.items():
            if key not in _META:
                raise RatewrightError(f"dvc.yaml: {name}: meta.{key}: unknown; there are {', '.join(_META)}")
            if not _META[key](value):
                raise RatewrightError(f"dvc.yaml: {name}: meta.{key}: a wrong value (got {value!r})")
        return cls(name, upstream, **meta)

    @property
    def stage(self) -> str:
        """The part before the @, such as train."""
        return self.name.partition("@")[0]

    @property
    def instance(self) -> str | None:
        """The part after the @, such as wcae; None for a stage with one instance."""
        return self.name.partition("@")[2] or None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_META: dict[str, Callable[[Any], bool]] = {
    "accelerator": lambda value: isinstance(value, bool),
    "retries": lambda value: isinstance(value, int) and _is_number(value) and value >= 0,
    "longest_hours": lambda value: _is_number(value) and value > 0,
}
"""The keys of `meta`, and the test of their values."""

COMMITTED = "params.yaml"
"""The committed params.yaml, where a profile is named."""

Graphs = Mapping[str, Sequence[StageNode]]
"""Stage nodes by profile and for `COMMITTED`, in the order in which DVC would run them."""


def dag_id(profile: str) -> str:
    """The DAG that retrains a profile, or `COMMITTED`."""
    return "retrain" if profile == COMMITTED else f"retrain_{profile}"


def dump(graphs: Graphs) -> str:
    """`graphs` as JSON text."""
    plain = {profile: [asdict(node) for node in nodes] for profile, nodes in graphs.items()}
    return json.dumps(plain, indent=1) + "\n"


def load(path: Path) -> dict[str, list[StageNode]]:
    """Read the graphs from a file with the text of `dump`."""
    return {
        profile: [StageNode(**node | {"upstream": tuple(node["upstream"])}) for node in nodes]
        for profile, nodes in json.loads(path.read_text()).items()
    }
