"""What each stage instance would do under other params: two stages with one identity give the same outputs."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config import params
from pipeline.schedule.dvc_graph import declared_stages, with_params
from pipeline.schedule.stage_nodes import StageNode


@dataclass(frozen=True)
class Stage:
    """A stage instance under some params.

    Attributes:
        node: As the runner knows it.
        identity: A hash of its command, its paths, its params, and the identities of the stages that it needs.
    """

    node: StageNode
    identity: str


Stages = Mapping[str, Stage]
"""Stage instances by DVC's name, such as train@wcae, each after those that it needs."""


def stages_under(root: Path, text: str) -> Stages:
    """The stages of dvc.yaml in the checkout at `root`, with `text` as params.yaml.

    Code and data are those of the checkout, the same for every text.

    Raises:
        RatewrightError: DVC refuses dvc.yaml with these params.
    """
    document = YAML(typ="safe").load(text)
    found: dict[str, Stage] = {}
    with with_params(root, text) as folder:
        for name, (stage, needs) in declared_stages(folder).items():
            parts = [_declaration(stage, document), *(found[above].identity for above in needs)]
            identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
            found[name] = Stage(StageNode.of_meta(name, needs, stage.meta or {}), identity)
    return found


def closure(stages: Stages, targets: Iterable[str]) -> dict[str, Stage]:
    """The targets and all that they need, in the order of `stages`."""
    wanted, below = set[str](), [*targets]
    while below:
        if (name := below.pop()) not in wanted:
            wanted.add(name)
            below += stages[name].node.upstream
    return {name: stage for name, stage in stages.items() if name in wanted}


def _declaration(stage: Any, document: Any) -> list[Any]:
    """What dvc.yaml says of a stage, with the values of its params in `document`."""
    from dvc.dependency import ParamsDependency

    read: dict[str, Any] = {}
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            known = document if dependency.def_path == params.FILE else None
            read[dependency.def_path] = {key: _value(known, key) for key in dependency.params}
        else:
            read[dependency.def_path] = None
    return [stage.cmd, read, [out.def_path for out in stage.outs]]


def _value(document: Any, key: str) -> Any:
    for part in key.split("."):
        document = document.get(part) if isinstance(document, Mapping) else None
    return document
