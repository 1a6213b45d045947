"""The tracking database of a checkout."""

import os
import subprocess
import sys
from pathlib import Path

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
