import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.arrays import Rgb
from pipeline.config import params
from pipeline.registry import measured_sets
from pipeline.schedule.source_changes import source_change
from pipeline.stages import fetch, validate
from tests.components.data.validation.made import bundled, png
from tests.small_profile import small_params

pytestmark = [
    pytest.mark.usefixtures("own_mlflow"),
    pytest.mark.filterwarnings("ignore"),  # of MLflow and its dependencies
]


def write(folder: Path, pictures: dict[str, Rgb]) -> None:
    folder.mkdir(exist_ok=True)
    for name, rgb in pictures.items():
        (folder / name).write_bytes(png(rgb))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose training data was validated."""
    source = tmp_path / "holiday"
    write(source, {name: bundled(name) for name in ("coffee.png", "camera.png", "grass.png")})
    (source / "broken.png").write_bytes(b"no picture")
    document = small_params()
    document["datasets"]["holiday"] = {"source": "holiday", "max_loss": 0.5, "revision": "one"}
    document["data"] = {"train": "holiday", "calibration": "bundled-calibration", "test": "bundled-test"}
    document["validation"]["leak"] = {"action": "off"}
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(document, file)
    return tmp_path


def run(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> params.Params:
    monkeypatch.chdir(checkout)
    for name in ("holiday", "bundled-calibration", "bundled-test"):
        fetch.run(checkout, name)
    validate.run(checkout, "holiday")
    return params.load(checkout)


def test_files_that_are_new_and_gone_are_counted(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert source_change(checkout, params.load(checkout), "holiday") == "", "no run measured it"
    settings = run(checkout, monkeypatch)
    assert source_change(checkout, settings, "holiday") == (
        "0 files are new, 0 gone, others perhaps replaced, since one of 4"
    )
    (checkout / "holiday" / "grass.png").unlink()
    write(checkout / "holiday", {"rocket.png": bundled("rocket.jpg"), "brick.png": bundled("brick.png")})
    assert source_change(checkout, settings, "holiday") == (
        "2 files are new, 1 gone, others perhaps replaced, since one of 4"
    )


def test_pinned_files_that_are_replaced_are_counted(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = run(checkout, monkeypatch)
    measured = measured_sets.previous(checkout, "holiday")
    assert measured is not None
    files = [
        {"name": picture.source_name, "sha256": picture.source_sha256 if name != "coffee.png" else "0" * 64}
        for name, picture in measured.pictures.items()
    ]
    (checkout / "m.json").write_text(json.dumps({"files": files}))
    pinned = settings.datasets["holiday"].model_copy(update={"manifest": "m.json"})
    changed = settings.model_copy(update={"datasets": {**settings.datasets, "holiday": pinned}})
    assert source_change(checkout, changed, "holiday") == "0 files are new, 1 gone, 1 replaced, since one of 4"


def test_mlflow_that_does_not_answer_is_a_warning(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert source_change(checkout, params.load(checkout), "holiday") == ""
    assert caplog.messages[0].startswith("sources: how holiday changed is not known: MLflow at http://127.0.0.1:9")
