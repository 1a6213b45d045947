"""The stage graph as plain data: what a scheduler draws tasks from, without DVC."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StageNode:
    """One stage instance of dvc.yaml."""

    name: str
    """As DVC names it, such as train@wcae."""
    upstream: tuple[str, ...]
    """Names of the stages whose outputs it reads, sorted."""
    meta: Mapping[str, Any]
    """What dvc.yaml says of it under `meta`, such as accelerator: true."""

    @property
    def stage(self) -> str:
        """The stage that it is an instance of."""
        return self.name.partition("@")[0]

    @property
    def instance(self) -> str | None:
        """The part after the @; None for a stage that is but one."""
        return self.name.partition("@")[2] or None


Graphs = Mapping[str, Sequence[StageNode]]
"""Stage nodes by profile, in the order that DVC would run them."""


def dump(graphs: Graphs) -> str:
    """`graphs` as JSON text."""
    plain = {profile: [asdict(node) for node in nodes] for profile, nodes in graphs.items()}
    return json.dumps(plain, indent=1) + "\n"


def load(path: Path) -> dict[str, list[StageNode]]:
    """The graphs that `dump` wrote."""
    return {
        profile: [StageNode(node["name"], tuple(node["upstream"]), node["meta"]) for node in nodes]
        for profile, nodes in json.loads(path.read_text()).items()
    }


def union(graphs: Graphs) -> list[StageNode]:
    """Every node of every profile once, with the upstream of all; upstream comes before downstream."""
    merged: dict[str, StageNode] = {}
    for nodes in graphs.values():
        for node in nodes:
            known = merged.get(node.name, node)
            merged[node.name] = StageNode(node.name, tuple(sorted({*known.upstream, *node.upstream})), node.meta)
    ordered: dict[str, StageNode] = {}

    def visit(node: StageNode) -> None:
        for name in node.upstream:
            if name not in ordered:
                visit(merged[name])
        ordered[node.name] = node

    for node in merged.values():
        visit(node)
    return list(ordered.values())
