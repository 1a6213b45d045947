"""The project's modules as syntax trees, and which modules each imports."""

import ast
from collections.abc import Container, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOTS = ("components", "pipeline")
VARIANTS = "components.codecs.variants"
"""The package with one module for each codec. The table of codecs imports them by names that no tree shows."""


class SourceCode:
    """The modules of a checkout.

    Args:
        root: The checkout.

    Attributes:
        paths: The file of each module, by the module's name.
        tree: Gives the syntax tree of a module, without docstrings, messages to the log, and what type checkers alone
            read. It is the same object each time.
    """

    def __init__(self, root: Path):
        self.paths = {_module(path.relative_to(root)): path for name in ROOTS for path in (root / name).rglob("*.py")}
        self._packages = {name for name, path in self.paths.items() if path.stem == "__init__"}
        self.tree = cache(self._parse)
        self._imports = cache(lambda name: set(self._imports_of(name)))

    def closure(self, modules: Iterable[str], without: Container[str] = ()) -> list[str]:
        """The given modules, what they import, directly or not, and the packages of each; sorted.

        Args:
            modules: Names of modules.
            without: Modules that are left out, and whose imports are not followed.
        """
        to_visit, found = list(modules), set[str]()
        while to_visit:
            name = to_visit.pop()
            if name in found or name in without:
                continue
            parts = name.split(".")
            parents = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
            found |= {parent for parent in parents if parent not in without}
            to_visit += self._imports(name)
        return sorted(found)

    def _parse(self, name: str) -> ast.Module:
        tree: ast.Module = _WithoutProse().visit(ast.parse(self.paths[name].read_bytes()))
        return tree

    def _imports_of(self, name: str) -> Iterator[str]:
        """The modules of the project that a module imports, inside functions too."""
        for node in ast.walk(self.tree(name)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in self.paths)
            elif isinstance(node, ast.ImportFrom):
                origins = (self._origin(self._absolute(name, node), alias.name) for alias in node.names)
                yield from (origin for origin in origins if origin in self.paths)

    def _origin(self, module: str, name: str) -> str:
        """The module that `from module import name` takes the name from: through a package that only hands it on."""
        if f"{module}.{name}" in self.paths:
            return f"{module}.{name}"
        handed_on = self.tree(module).body if module in self._packages else []
        for node in handed_on:
            if not isinstance(node, ast.ImportFrom):
                continue
            for alias in node.names:
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


def _module(path: Path) -> str:
    """The name of the module in a file."""
    return ".".join(path.parent.parts if path.stem == "__init__" else path.with_suffix("").parts)
