"""The stage graph of dvc.yaml as StageNodes, and dags/stages.json, from which Airflow's DAGs are drawn.

`python -m pipeline.schedule.dvc_graph --write` writes dags/stages.json; `--check` fails if it is not current.
"""

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.config import params
from pipeline.config.profiles import profile_names, profile_text
from pipeline.paths import CHECKOUT
from pipeline.schedule.stage_nodes import COMMITTED, Graphs, StageNode, dump
from pipeline.terminal import guarded

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

logger = logging.getLogger(__name__)


def declared_stages(root: Path) -> dict[str, tuple["PipelineStage", tuple[str, ...]]]:
    """DVC's stages of the repository at `root`, each with the sorted names of those that it needs, and after them.

    Raises:
        RatewrightError: DVC refuses dvc.yaml or params.yaml.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root), uninitialized=True) as repo:
            graph = repo.index.graph
            needs = {stage.name: tuple(sorted(above.name for above in graph.successors(stage))) for stage in graph}
            stages = {stage.name: stage for stage in graph}
    except DvcException as error:
        raise RatewrightError(f"{root / 'dvc.yaml'}: {error}") from error
    found: dict[str, tuple[PipelineStage, tuple[str, ...]]] = {}

    def visit(name: str) -> None:
        for above in needs[name]:
            visit(above)
        found.setdefault(name, (stages[name], needs[name]))

    for name in sorted(stages):
        visit(name)
    return found


def stage_nodes(root: Path) -> list[StageNode]:
    """The stages of the DVC repository at `root`, each after those that it depends on, otherwise sorted by name.

    Raises:
        RatewrightError: DVC refuses dvc.yaml or params.yaml.
    """
    return [StageNode.of_meta(name, needs, stage.meta or {}) for name, (stage, needs) in declared_stages(root).items()]


def all_graphs(root: Path) -> Graphs:
    """The stage graphs of params.yaml and of every profile."""
    texts = {name: profile_text(root, name) for name in profile_names(root)}
    texts = {COMMITTED: (root / params.FILE).read_text(), **texts}
    return {name: _nodes_with(root, text) for name, text in texts.items()}


@contextmanager
def with_params(root: Path, text: str) -> Iterator[Path]:
    """A folder with dvc.yaml of the checkout at `root`, and `text` as params.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "dvc.yaml", folder)
        (Path(folder) / params.FILE).write_text(text)
        yield Path(folder)


def _nodes_with(root: Path, text: str) -> list[StageNode]:
    """The stages of dvc.yaml with `text` as params.yaml."""
    with with_params(root, text) as folder:
        return stage_nodes(folder)


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
