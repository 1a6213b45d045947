"""The tracking database of a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.registry.client import client, experiment_id, uri

CHECKOUT = Path(__file__).resolve().parents[3]


def test_processes_that_start_together_make_one_database(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    program = (
        "from pathlib import Path; from pipeline.registry.client import client; client(Path.cwd()).search_experiments()"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(CHECKOUT)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in started:
        _, said = process.communicate(timeout=180)
        assert process.returncode == 0, said.decode()
    assert (tmp_path / "mlflow.db").is_file()


@pytest.mark.usefixtures("own_mlflow")
@pytest.mark.filterwarnings("ignore")
def test_artifacts_lie_beside_a_database_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone of a sweep is removed, and the database of the checkout stays."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    found = client(tmp_path / "clone")
    experiment = found.get_experiment(experiment_id(found))
    assert experiment.artifact_location == (tmp_path / "checkout" / "mlartifacts").as_uri()
    assert uri(tmp_path / "clone") == f"sqlite:///{tmp_path}/checkout/mlflow.db"
