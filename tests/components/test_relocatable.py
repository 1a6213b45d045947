"""`components` under another name: a registered version carries its own copy of what its codec needs."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SOURCES = sorted((CHECKOUT / "components").rglob("*.py"))
UNDER_ANOTHER_NAME = """
import importlib, pkgutil, sys
sys.modules["components"] = None  # so that an import of it fails
import moved.codecs
for package in ("moved.codecs", "moved.data"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)
"""


def test_no_module_names_the_package() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found += [f"{path}:{node.lineno}" for name in names if name.partition(".")[0] == "components"]  # type: ignore[attr-defined]
    assert found == []


def test_codecs_and_data_import_under_another_name(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "components", tmp_path / "moved", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", UNDER_ANOTHER_NAME]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "", "PYTHONPATH": "."}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
