"""The stage graphs as plain data, from which a scheduler makes its DAGs without DVC."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StageNode:
    """One stage instance of dvc.yaml."""

    name: str
    """DVC's name of the instance, such as train@wcae."""
    upstream: tuple[str, ...]
    """Names of the instances whose outputs this one reads, sorted."""
    meta: Mapping[str, Any]
    """The stage's `meta` in dvc.yaml, such as accelerator: true."""

    @property
    def stage(self) -> str:
        """The part before the @, such as train."""
        return self.name.partition("@")[0]

    @property
    def instance(self) -> str | None:
        """The part after the @, such as wcae; None for a stage with one instance."""
        return self.name.partition("@")[2] or None


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
        profile: [StageNode(node["name"], tuple(node["upstream"]), node["meta"]) for node in nodes]
        for profile, nodes in json.loads(path.read_text()).items()
    }
