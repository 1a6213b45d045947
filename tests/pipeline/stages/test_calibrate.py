"""Calibrations in MLflow: each fine-tune is a run with its data; what fails is marked and gone on with."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.errors import RatewrightError
from components.training.callback import TrainingCallback
from components.training.job import TrainingJob
from components.training.launchers.local import LocalLauncher
from components.training.state import TrainingState
from pipeline.documents import Calibration, read
from pipeline.paths import Layout
from pipeline.registry.client import client
from pipeline.stages import _fine_tuning, calibrate
from tests.data_sets import write_data_set
from tests.small_profile import small_params

if TYPE_CHECKING:
    from mlflow.entities import Run as FoundRun

pytestmark = [
    pytest.mark.usefixtures("one_thread", "own_mlflow"),
    pytest.mark.filterwarnings("ignore"),  # of MLflow and its dependencies
]


class FailsOnce(LocalLauncher):
    """A launcher whose first training fails."""

    failed = False

    def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
        if not self.failed:
            self.failed = True
            raise RatewrightError("the node is gone")
        return super().train(job, callback)


@pytest.fixture
def tree(photographs: list[Rgb], tiny_shards: Path, make_codec: Callable[..., Codec], tmp_path: Path) -> Path:
    """What `calibrate` reads: a codec whose rate is far from the target."""
    document = small_params()
    document["target_bpp"] = 1.0
    document["variants"], document["efforts"] = {"nowcae": document["variants"]["nowcae"]}, {}
    small: dict[str, Any] = {"batch_size": 2, "validation_patches": 1, "workers": 0}
    document["variants"]["nowcae"]["train"] |= small
    document["variants"]["nowcae"]["calibrate"] = {"tolerance": 0.5, "rounds": 1, "close_enough": 0.001}
    document["fine_tuned"] = {}
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(document, file)
    layout = Layout(tmp_path)
    (tmp_path / "data" / "shards").mkdir(parents=True)
    layout.shards("bundled-train").symlink_to(tiny_shards)
    write_data_set(layout.raw("bundled-calibration"), photographs[:2])
    layout.trained("nowcae").parent.mkdir(parents=True)
    layout.history("nowcae").write_text("")
    facts = {"variant": "nowcae", "lmbda": 0.01, "step": 8, "precision": "32-true"}
    checkpoint.save(make_codec("nowcae"), layout.trained("nowcae"), **facts)
    return tmp_path


def runs(tree: Path) -> dict[str, "FoundRun"]:
    """The runs in MLflow by their names."""
    return {run.info.run_name: run for run in client(tree).search_runs(["1"])}


def test_a_calibration_and_its_fine_tunes_reach_mlflow(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = FailsOnce(1)
    monkeypatch.setattr(_fine_tuning, "launcher_of", lambda *_: launcher)
    with pytest.raises(RatewrightError, match="the node is gone"):
        calibrate.run(tree, "nowcae")
    failed = runs(tree)
    assert {name: run.info.status for name, run in failed.items()} == {
        "calibrate nowcae": "FAILED",
        "fine-tune nowcae 1": "FAILED",
    }

    calibrate.run(tree, "nowcae")
    finished = runs(tree)
    for name, role, data in (
        ("calibrate nowcae", "calibration", "bundled-calibration"),
        ("fine-tune nowcae 1", "training", "bundled-train"),
    ):
        run = finished[name]
        assert (run.info.run_id, run.info.status) == (failed[name].info.run_id, "FINISHED"), "it went on"
        assert run.inputs is not None
        (found,) = run.inputs.dataset_inputs
        assert (found.dataset.name, found.tags[0].value) == (data, role)
    found_rate = read(Calibration, Layout(tree).calibration("nowcae")).bpp
    assert finished["calibrate nowcae"].data.metrics["bpp"] == found_rate
    assert finished["fine-tune nowcae 1"].data.metrics["val_loss"] > 0
    assert finished["fine-tune nowcae 1"].data.tags["precision"] == "32-true"
