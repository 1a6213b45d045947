"""Regression pictures in a real MLflow, by the commands of operators."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.arrays import Rgb
from components.data.image_files import encode_png
from components.errors import RatewrightError
from pipeline.cli import app
from pipeline.registry import regression_pictures

pytestmark = pytest.mark.filterwarnings("ignore")
MODEL = "image-codec-0.15bpp"


@pytest.fixture
def root(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout as far as the commands need one, with a registry of its own."""
    shutil.copy(empty_database, tmp_path)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["regression", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_pictures_are_kept_listed_and_removed(root: Path, photographs: list[Rgb]) -> None:
    for name, rgb in (("b.png", photographs[0]), ("a.png", photographs[1])):
        (root / name).write_bytes(encode_png(rgb))
        assert f"{name} is kept" in run("add", MODEL, str(root / name), "--reason", "banding in the sky")
    assert run("list", MODEL).splitlines() == ["a.png  banding in the sky", "b.png  banding in the sky"]
    assert run("list", "another-model") == ""
    kept = dict(regression_pictures.pictures(root, MODEL))
    assert [kept[name].tolist() for name in ("a.png", "b.png")] == [photographs[1].tolist(), photographs[0].tolist()]
    assert "a.png is kept no longer" in run("remove", MODEL, "a.png")
    assert run("list", MODEL).splitlines() == ["b.png  banding in the sky"]
    (root / "a.png").write_bytes(encode_png(photographs[0]))
    run("add", MODEL, str(root / "a.png"), "--reason", "again")
    assert len(regression_pictures.listed(root, MODEL)) == 2


def test_what_cannot_be_kept_is_told_in_one_line(root: Path, photographs: list[Rgb]) -> None:
    picture = root / "a.png"
    picture.write_bytes(encode_png(photographs[0]))
    regression_pictures.add(root, MODEL, picture, "why")
    with pytest.raises(RatewrightError, match=r"has a regression picture a\.png; remove it first"):
        regression_pictures.add(root, MODEL, picture, "why")
    with pytest.raises(RatewrightError, match=r"has no regression picture c\.png"):
        regression_pictures.remove(root, MODEL, "c.png")
    picture.write_bytes(b"no picture")
    with pytest.raises(RatewrightError):
        regression_pictures.add(root, "another-model", picture, "why")
    assert regression_pictures.listed(root, "another-model") == []
