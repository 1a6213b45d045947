"""MLflow runs of stages: finished, failed, stopped and gone on with; a real MLflow on sqlite."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from components.errors import RatewrightError
from components.training.interrupt import Interrupted
from pipeline.registry.client import client
from pipeline.registry.runs import EXPERIMENT_TAG, DataInput, Run

pytestmark = [
    pytest.mark.usefixtures("own_mlflow"),
    # MLflow and its dependencies warn; that is not for this project to fix.
    pytest.mark.filterwarnings("ignore"),
]


def entered(root: Path, error: BaseException | None = None) -> tuple[str, str]:
    """The id of the run of one identity after it was left with an error or without one, and its status then."""
    left = nullcontext() if error is None else pytest.raises(type(error), match=str(error))
    with left, Run(root, "train wcae", "identity", {"seed": 0}) as run:
        assert status_of(root, run.id) == "RUNNING"
        if error is not None:
            raise error
    return run.id, status_of(root, run.id)


def test_data_sets_are_inputs_of_the_run(tmp_path: Path) -> None:
    data = [
        DataInput("kodak", "ab" * 32, "https://r0k.us/graphics/kodak", "test"),
        DataInput("clic", "cd" * 32, "s3://bucket/clic", "calibration"),
    ]
    with Run(tmp_path, "evaluate wcae", "identity", {"target_bpp": 0.15}, data) as run:
        pass
    inputs = client(tmp_path).get_run(run.id).inputs
    assert inputs is not None
    found = {
        each.dataset.name: ({tag.key: tag.value for tag in each.tags}, each.dataset.digest, each.dataset.source)
        for each in inputs.dataset_inputs
    }
    tags, digest, source = found["kodak"]
    assert tags == {"mlflow.data.context": "test", "sha256": "ab" * 32}
    assert digest == "ab" * 18
    assert json.loads(source) == {"uri": "https://r0k.us/graphics/kodak"}
    assert found.keys() == {"kodak", "clic"}


def status_of(root: Path, run_id: str) -> str:
    return str(client(root).get_run(run_id).info.status)


def test_a_run_that_fails_is_marked_and_one_that_is_stopped_stays_open(tmp_path: Path) -> None:
    """The next attempt continues the run in both cases, until one finishes."""
    run_id, status = entered(tmp_path, RatewrightError("training diverged"))
    assert status == "FAILED"
    for error, expected in (
        (Interrupted("stopped at step 3"), "RUNNING"),
        (KeyboardInterrupt(), "RUNNING"),
        (SystemExit(143), "RUNNING"),
        (OSError("no space left on device"), "FAILED"),
        (None, "FINISHED"),
    ):
        assert entered(tmp_path, error) == (run_id, expected)
    assert entered(tmp_path)[0] != run_id, "what finished is not continued"


def test_a_run_names_the_experiment_of_dvc_that_it_belongs_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(tmp_path, "train wcae", "one", {}) as run:
        pass
    assert EXPERIMENT_TAG not in client(tmp_path).get_run(run.id).data.tags
    monkeypatch.setenv("DVC_EXP_NAME", "wcae-learning_rate=0.001")
    with Run(tmp_path, "train wcae", "other", {}) as run:
        pass
    assert client(tmp_path).get_run(run.id).data.tags[EXPERIMENT_TAG] == "wcae-learning_rate=0.001"
