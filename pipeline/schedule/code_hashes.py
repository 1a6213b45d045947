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
from collections.abc import Iterator
from pathlib import Path

from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.entry import console, guarded
from pipeline.paths import CHECKOUT

FILE = "code.json"
ROOTS = ("components", "pipeline")
STAGES = ("fetch", "shard", "choose", "report", "register")
CODEC_STAGES = ("train", "calibrate", "evaluate")
"""Stages with one hash for each codec."""
BASELINES = "evaluate_baseline"
"""The stage `evaluate` of a classic codec, without a learned one."""
VARIANTS = "components.codecs.variants"
TABLE = "components.codecs.table"
"""The one module that imports by a computed name. It counts with its row of the codec, and imports no other codec."""

WITHOUT_EFFECT = {
    "pipeline.entry": "starts a stage, prints its messages and progress, sets its exit code",
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


class SourceCode:
    """The modules of a checkout, as syntax trees.

    Args:
        root: The checkout.
    """

    def __init__(self, root: Path):
        paths = {_module(path.relative_to(root)): path for name in ROOTS for path in (root / name).rglob("*.py")}
        self._packages = {name for name, path in paths.items() if path.stem == "__init__"}
        self._trees = {name: _WithoutProse().visit(ast.parse(path.read_bytes())) for name, path in paths.items()}
        self._rows = _take_rows(self._trees[TABLE])
        self._hashes = {name: _hash(ast.dump(tree)) for name, tree in self._trees.items()}
        self._imports = {name: set(self._imports_of(name)) for name in self._trees}
        self.codecs = sorted(name.rpartition(".")[2] for name in self._trees if name.startswith(f"{VARIANTS}."))

    def closure(self, stage: str, codec: str | None = None) -> list[str]:
        """The modules that count for a stage instance, sorted.

        Args:
            stage: The name of a module in pipeline/stages/.
            codec: The name of a module in components/codecs/variants/; None for an instance without one.
        """
        to_visit = [f"pipeline.stages.{stage}"] + ([] if codec is None else [f"{VARIANTS}.{codec}"])
        found: set[str] = set()
        while to_visit:
            name = to_visit.pop()
            if name in found or name in WITHOUT_EFFECT:
                continue
            parts = name.split(".")
            found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} - WITHOUT_EFFECT.keys()
            to_visit += self._imports[name]
        return sorted(found)

    def hashes(self) -> dict[str, str | dict[str, str]]:
        """What code.json holds: the hash of each stage, or of each codec of a stage."""
        one = {stage: self._hash_of(stage) for stage in STAGES}
        each = {stage: {codec: self._hash_of(stage, codec) for codec in self.codecs} for stage in CODEC_STAGES}
        return {**one, **each, BASELINES: self._hash_of("evaluate")}

    def _hash_of(self, stage: str, codec: str | None = None) -> str:
        modules = {name: self._hashes[name] for name in self.closure(stage, codec)}
        return _hash(json.dumps([modules, self._rows.get(codec or "")]))

    def _imports_of(self, name: str) -> Iterator[str]:
        """The modules of the project that a module imports, inside functions too."""
        for node in ast.walk(self._trees[name]):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in self._trees)
            elif isinstance(node, ast.ImportFrom):
                origins = (self._origin(self._absolute(name, node), alias.name) for alias in node.names)
                yield from (origin for origin in origins if origin in self._trees)

    def _origin(self, module: str, name: str) -> str:
        """The module that `from module import name` takes the name from: through a package that only hands it on."""
        if f"{module}.{name}" in self._trees:
            return f"{module}.{name}"
        handed_on = self._trees[module].body if module in self._packages else []
        for node in handed_on:
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                if name == (alias.asname or alias.name):
                    return self._origin(self._absolute(module, node), alias.name)
        return module

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        """The module that an import in `module` names, relative or not."""
        parts = module.split(".")
        above = parts[: len(parts) - node.level + (module in self._packages)] if node.level else []
        return ".".join([*above, *filter(None, [node.module])])


class _WithoutProse(ast.NodeTransformer):
    """Removes docstrings, messages to the log, and what type checkers alone read. Comments are not in the tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        message = isinstance(node.value, ast.Call) and ast.unparse(node.value.func).startswith("logger.")
        return None if text or message else node

    def visit_Pass(self, _node: ast.Pass) -> None:
        """Remove what stands where a docstring could."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else node


def _take_rows(table: ast.Module) -> dict[str, str]:
    """Remove the rows from the tree of the table of codecs, and return them."""
    for node in table.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CODECS":
            rows: dict[str, str] = ast.literal_eval(node.value)
            node.value = ast.Constant(None)
            return rows
    raise RatewrightError(f"{TABLE} has no table CODECS")


def _module(path: Path) -> str:
    """The name of the module in a file."""
    return ".".join(path.parent.parts if path.stem == "__init__" else path.with_suffix("").parts)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Write code.json, raise RatewrightError if it is not current, or print the modules of an instance."""
    code, path, arguments = SourceCode(CHECKOUT), CHECKOUT / FILE, sys.argv[1:]
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
