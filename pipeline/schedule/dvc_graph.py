"""dvc.yaml as stage nodes.

`python -m pipeline.schedule.dvc_graph --write` keeps dags/stages.json, `--check` says whether it is current.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.config import params
from pipeline.config.profiles import profile_names, profile_text
from pipeline.entry import console, guarded
from pipeline.paths import CHECKOUT
from pipeline.schedule.stage_nodes import Graphs, StageNode, dump

STANDING = "params.yaml"
"""The key of the graph that the committed params.yaml gives, beside those of the profiles."""


def stage_nodes(root: Path) -> list[StageNode]:
    """The nodes of the DVC repository at `root`, upstream first, else by name. Raises RatewrightError."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root), uninitialized=True) as repo:
            graph = repo.index.graph
            upstream = {stage.name: sorted(above.name for above in graph.successors(stage)) for stage in graph}
            meta = {stage.name: dict(stage.meta or {}) for stage in graph}
    except DvcException as error:
        raise RatewrightError(f"{root / 'dvc.yaml'}: {error}") from error
    nodes: dict[str, StageNode] = {}

    def visit(name: str) -> None:
        for above in upstream[name]:
            visit(above)
        nodes.setdefault(name, StageNode(name, tuple(upstream[name]), meta[name]))

    for name in sorted(upstream):
        visit(name)
    return list(nodes.values())


def all_graphs(root: Path) -> Graphs:
    """The graph of params.yaml as it is, and of every profile."""
    texts = {STANDING: (root / params.FILE).read_text()}
    texts |= {name: profile_text(root, name) for name in profile_names(root)}
    return {name: _nodes_with(root, text) for name, text in texts.items()}


def _nodes_with(root: Path, text: str) -> list[StageNode]:
    """The nodes of dvc.yaml under other params."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "dvc.yaml", folder)
        (Path(folder) / params.FILE).write_text(text)
        return stage_nodes(Path(folder))


def main() -> None:
    """Write dags/stages.json, or fail if it is not what dvc.yaml and the profiles give now."""
    mode = sys.argv[1:]
    path = CHECKOUT / "dags" / "stages.json"
    if mode not in (["--write"], ["--check"]):
        raise RatewrightError("usage: python -m pipeline.schedule.dvc_graph --write | --check")
    text = dump(all_graphs(CHECKOUT))
    if mode == ["--write"]:
        write_bytes(path, text.encode())
        console.print(f"graph: {path}")
    elif not path.exists() or path.read_text() != text:
        raise RatewrightError(f"{path} is not current: run `make graph` and commit it")


if __name__ == "__main__":
    guarded(main)
