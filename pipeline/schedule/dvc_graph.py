"""The stage graph of dvc.yaml as StageNodes, and dags/stages.json, from which Airflow's DAGs are drawn.

`python -m pipeline.schedule.dvc_graph --write` writes dags/stages.json; `--check` fails if it is not current.
"""

import logging
import shutil
import sys
import tempfile
from pathlib import Path

from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.config import params
from pipeline.config.profiles import profile_names, profile_text
from pipeline.entry import guarded
from pipeline.paths import CHECKOUT
from pipeline.schedule.stage_nodes import COMMITTED, Graphs, StageNode, dump

logger = logging.getLogger(__name__)


def stage_nodes(root: Path) -> list[StageNode]:
    """The stages of the DVC repository at `root`, each after those that it depends on, otherwise sorted by name.

    Raises:
        RatewrightError: DVC refuses dvc.yaml or params.yaml.
    """
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
        nodes.setdefault(name, StageNode.of_meta(name, tuple(upstream[name]), meta[name]))

    for name in sorted(upstream):
        visit(name)
    return list(nodes.values())


def all_graphs(root: Path) -> Graphs:
    """The stage graphs of params.yaml and of every profile."""
    texts = {name: profile_text(root, name) for name in profile_names(root)}
    texts = {COMMITTED: (root / params.FILE).read_text(), **texts}
    return {name: _nodes_with(root, text) for name, text in texts.items()}


def _nodes_with(root: Path, text: str) -> list[StageNode]:
    """The stages of dvc.yaml with `text` as params.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "dvc.yaml", folder)
        (Path(folder) / params.FILE).write_text(text)
        return stage_nodes(Path(folder))


def main() -> None:
    """Write dags/stages.json, or raise RatewrightError if it is not current."""
    mode = sys.argv[1:]
    path = CHECKOUT / "dags" / "stages.json"
    if mode not in (["--write"], ["--check"]):
        raise RatewrightError("usage: python -m pipeline.schedule.dvc_graph --write | --check")
    text = dump(all_graphs(CHECKOUT))
    if mode == ["--write"]:
        write_bytes(path, text.encode())
        logger.info(f"graph: {path}")
    elif not path.exists() or path.read_text() != text:
        raise RatewrightError(f"{path} is not current: run `make graph` and commit it")


if __name__ == "__main__":
    guarded(main)
