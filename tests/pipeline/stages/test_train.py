"""Trainings that cannot begin: one line says why, and nothing is written. Trainings whose MLflow dies at their end."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.errors import RatewrightError
from components.training.callback import TrainingCallback, Validation
from components.training.job import TrainingJob
from components.training.launchers.local import LocalLauncher
from components.training.state import TrainingState
from pipeline.config import params
from pipeline.documents import read_lines
from pipeline.paths import Layout
from pipeline.registry.client import client
from pipeline.registry.runs import TRAINING_S
from pipeline.stages import train
from tests.data_sets import write_data_set
from tests.small_profile import small_params


@pytest.fixture
def tree(photographs: list[Rgb], tiny_shards: Path, tmp_path: Path) -> Path:
    """What `train` reads, params.yaml apart."""
    (tmp_path / "data" / "shards").mkdir(parents=True)
    for shards in ("bundled-train", "wcae_ft"):
        (tmp_path / "data" / "shards" / shards).symlink_to(tiny_shards)
    write_data_set(tmp_path / "data" / "raw" / "bundled-calibration", photographs[:2])
    return tmp_path


def refused(tree: Path, name: str, document: dict[str, Any]) -> str:
    """The error of `train` under these params."""
    YAML().dump(document, tree / "params.yaml")
    with pytest.raises(RatewrightError) as caught:
        train.run(tree, name)
    assert "\n" not in str(caught.value)
    assert not (tree / "models" / name).exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("hyperparameters", "weights", "why"),
    [
        (
            {"mu": 0.1},
            {},
            "needs train.weights.vgg19, the path or address of a file such as torchvision's vgg19-dcbb9e9d.pth",
        ),
        ({}, {"resnet101": {"location": "gone.pth", "sha256": "0" * 64}}, "gone.pth: no such file"),
        ({}, {"resnet50": {"location": "params.yaml", "sha256": "0" * 8}}, "has the wrong content"),
    ],
)
def test_weights_that_are_missing_or_wrong(
    hyperparameters: dict[str, Any], weights: Any, why: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    document = small_params()
    variant = document["variants"]["qae"]
    variant["hyperparameters"] = {"width": 24, "bits": [1, 2], "depths": [1, 1, 1, 1], "channels": 4, **hyperparameters}
    variant["train"]["weights"] = weights
    assert why in refused(tree, "qae", document)


def test_a_start_whose_weights_do_not_fit(tree: Path, make_codec: Callable[..., Codec]) -> None:
    checkpoint.save(make_codec("wcae"), tree / "models" / "wcae" / "trained.safetensors", lmbda=0.01)
    document = small_params()
    wcae = document["variants"]["wcae"]
    document["fine_tuned"]["wcae_ft"] = {
        **wcae,
        "start": "models/wcae/trained.safetensors",
        "data": "bundled-calibration",
        "codec": "nowcae",
    }
    said = refused(tree, "wcae_ft", document)
    assert "models/wcae/trained.safetensors: the weights do not fit codec 'nowcae'" in said


def job(tree: Path, name: str, document: dict[str, Any]) -> TrainingJob:
    settings, layout = params.parse(document, "params.yaml"), Layout(tree)
    return train.job_of(name, settings, layout, train.start_of(settings.variant(name), layout))


def test_a_kept_run_is_a_start_and_the_codec_may_have_more_parts(tree: Path, make_codec: Callable[..., Codec]) -> None:
    kept, document = make_codec("haar_hyper"), small_params()
    checkpoint.save(kept, tree / "results" / "kept" / "champion.safetensors", lmbda=0.01)
    document["fine_tuned"]["wcae_ft"] = {
        **document["variants"]["haar_hyper"],
        "hyperparameters": {**kept.hyperparameters, "groups": [8, 24]},
        "start": "results/kept/champion.safetensors",
        "data": "bundled-calibration",
    }
    document["fine_tuned"]["wcae_ft"]["train"].pop("lmbda")
    made = job(tree, "wcae_ft", document)
    codec, _ = made.initial_codec()
    assert made.config.lmbda == 0.01
    assert codec.state_dict().keys() > kept.state_dict().keys()
    for name, weights in kept.state_dict().items():
        assert torch.equal(codec.state_dict()[name], weights), name


def test_a_training_with_other_threads_is_another_one(tree: Path) -> None:
    document = small_params()
    one = job(tree, "wcae", document).fingerprint
    assert job(tree, "wcae", document).fingerprint == one
    assert job(tree, "wcae", {**document, "threads": 2}).fingerprint != one


def no_database(root: Path) -> None:
    (root / "mlflow.db").write_bytes(b"not a database" * 1000)


def no_place_for_artifacts(root: Path) -> None:
    shutil.rmtree(root / "mlartifacts", ignore_errors=True)
    (root / "mlartifacts").write_bytes(b"")


@pytest.mark.filterwarnings("ignore")  # of MLflow and its dependencies
@pytest.mark.usefixtures("own_mlflow", "one_thread")
@pytest.mark.parametrize("end_mlflow", [no_database, no_place_for_artifacts])
def test_mlflow_that_dies_after_the_last_step_costs_no_checkpoint(
    end_mlflow: Callable[[Path], None], tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class ThenMlflowEnds(LocalLauncher):
        def train(self, job: TrainingJob, callback: TrainingCallback) -> TrainingState:
            state = super().train(job, callback)
            self.state = Path(job.state)
            end_mlflow(tree)
            return state

    launcher = ThenMlflowEnds(1)
    monkeypatch.setattr(train, "launcher_of", lambda *_: launcher)
    document = small_params()
    document["variants"]["wcae"]["train"] |= {
        **{"steps": 2, "validate_every": 2, "validation_patches": 1, "steer_images": 1, "workers": 0},
        "precision": "32-true",
    }
    YAML().dump(document, tree / "params.yaml")
    train.run(tree, "wcae")
    _, facts = checkpoint.load(tree / "models" / "wcae" / "trained.safetensors")
    assert facts["step"] == 2
    assert [row.step for row in read_lines(Validation, tree / "models" / "wcae" / "history.jsonl")] == [2]
    assert not launcher.state.exists(), "the stage came to its end"
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(text.startswith("MLflow did not take the reconstructions: ") for text in warnings)
    if end_mlflow is no_place_for_artifacts:
        (run,) = client(tree).search_runs(["1"])
        assert run.info.status == "FINISHED"
        assert {TRAINING_S, "val_loss"} <= run.data.metrics.keys()
        assert run.data.tags["precision"] == "32-true"
        assert run.inputs is not None
        inputs = {each.dataset.name: each.tags[0].value for each in run.inputs.dataset_inputs}
        assert inputs == {"bundled-train": "training", "bundled-calibration": "calibration"}
