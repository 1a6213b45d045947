"""A run that nobody made, and its report."""

import shutil
from pathlib import Path

import pytest

from pipeline.stages import report
from tests.pipeline.reporting.written_run import add_maps_and_settings, changed, make_progressive, write_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `report` reads. Nobody changes it."""
    root = tmp_path_factory.mktemp("whole")
    write_run(root)
    return root


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    """The same for one test to change."""
    return shutil.copytree(whole, tmp_path / "tree")


@pytest.fixture(scope="module")
def reported(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its report."""
    root = shutil.copytree(whole, tmp_path_factory.mktemp("reported") / "tree")
    report.run(root)
    return root


@pytest.fixture(scope="module")
def rich(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with everything that only some codecs have."""
    root = shutil.copytree(whole, tmp_path_factory.mktemp("rich") / "tree")
    make_progressive(root)
    add_maps_and_settings(root)
    with changed(root / "evaluation" / "jpeg" / "metrics.json") as metrics:
        metrics["test_set_sha256"]["kodak"] = "1" * 64
    report.run(root)
    return root / "report"
