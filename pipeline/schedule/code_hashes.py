"""code.json: a hash of the code that each stage instance runs, which dvc.yaml names as a parameter.

python -m pipeline.schedule.code_hashes --write         # code.json anew
python -m pipeline.schedule.code_hashes --check         # whether it is current
python -m pipeline.schedule.code_hashes train wcae      # the modules that count for an instance

The code of an instance is its import closure: the stage's module, the module of its codec, and what these import,
directly or not. Comments, docstrings and messages do not count.
"""

import ast
import hashlib
import json
import sys
from pathlib import Path

from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.paths import CHECKOUT
from pipeline.source_code import VARIANTS, SourceCode
from pipeline.terminal import console, guarded

FILE = "code.json"
STAGES = ("fetch", "validate", "shard", "choose", "report", "register")
CODEC_STAGES = ("train", "calibrate", "evaluate")
"""Stages with one hash for each codec."""
BASELINES = "evaluate_baseline"
"""The stage `evaluate` of a classic codec, without a learned one."""
TABLE = "components.codecs.table"
"""The one module that imports by a computed name. It counts with its row of the codec, and imports no other codec."""

WITHOUT_EFFECT = {
    "pipeline.entry": "starts a stage",
    "pipeline.terminal": "prints messages and progress, sets exit codes",
    "pipeline.stages._progress": "prints the progress of a training",
    "pipeline.paths": "dvc.yaml has the same paths",
    "pipeline.documents": "gathers the names of its modules, which count where they are used",
    "pipeline.registry.client": "finds MLflow, which receives copies of results",
    "pipeline.registry.runs": "sends copies of results to MLflow",
    "components.distributed.ray_cluster": "where code runs, as `ray` in params.yaml, on which no stage depends",
    "components.training.launchers.gpu_locks": "where a training runs, as `resources`",
    "components.training.launchers.local": "where a training runs, as `launcher`",
    "components.training.launchers.ray": "where a training runs, as `launcher`",
    "components.training.launchers.ray_supervisor": "where a training runs, as `launcher`",
}
"""Modules that do not count, and whose imports are not followed -> why they cannot change a result."""


class StageCode:
    """The code that stage instances run.

    Args:
        root: The checkout.
    """

    def __init__(self, root: Path):
        self._source = SourceCode(root)
        self._rows = _take_rows(self._source.tree(TABLE))
        self._hashes = {name: _hash(ast.dump(self._source.tree(name))) for name in self._source.paths}
        self.codecs = sorted(name.rpartition(".")[2] for name in self._hashes if name.startswith(f"{VARIANTS}."))

    def closure(self, stage: str, codec: str | None = None) -> list[str]:
        """The modules that count for a stage instance, sorted.

        Args:
            stage: The name of a module in pipeline/stages/.
            codec: The name of a module in components/codecs/variants/; None for an instance without one.
        """
        modules = [f"pipeline.stages.{stage}"] + ([] if codec is None else [f"{VARIANTS}.{codec}"])
        return self._source.closure(modules, without=WITHOUT_EFFECT)

    def hashes(self) -> dict[str, str | dict[str, str]]:
        """What code.json holds: the hash of each stage, or of each codec of a stage."""
        one = {stage: self._hash_of(stage) for stage in STAGES}
        each = {stage: {codec: self._hash_of(stage, codec) for codec in self.codecs} for stage in CODEC_STAGES}
        return {**one, **each, BASELINES: self._hash_of("evaluate")}

    def _hash_of(self, stage: str, codec: str | None = None) -> str:
        modules = {name: self._hashes[name] for name in self.closure(stage, codec)}
        return _hash(json.dumps([modules, self._rows.get(codec or "")]))


def _take_rows(table: ast.Module) -> dict[str, str]:
    """Remove the rows from the tree of the table of codecs, and return them."""
    for node in table.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CODECS":
            rows: dict[str, str] = ast.literal_eval(node.value)
            node.value = ast.Constant(None)
            return rows
    raise RatewrightError(f"{TABLE} has no table CODECS")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Write code.json, raise RatewrightError if it is not current, or print the modules of an instance."""
    code, path, arguments = StageCode(CHECKOUT), CHECKOUT / FILE, sys.argv[1:]
    text = json.dumps(code.hashes(), indent=2) + "\n"
    if arguments == ["--write"]:
        write_bytes(path, text.encode())
    elif arguments == ["--check"]:
        if not path.exists() or path.read_text() != text:
            raise RatewrightError(f"{path} is not current: run `make code` and commit it")
    elif arguments and arguments[0] in (*STAGES, *CODEC_STAGES) and {*arguments[1:]} <= {*code.codecs}:
        console.print("\n".join(code.closure(*arguments[:2])))
    else:
        raise RatewrightError("usage: python -m pipeline.schedule.code_hashes --write | --check | STAGE [CODEC]")


if __name__ == "__main__":
    guarded(main)
