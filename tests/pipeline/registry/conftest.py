"""What tests of the registry share."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.forks import Forks
from tests.services.running_airflow import free_port, wait_for

ROOT = Path(__file__).parents[3]
PIXELS = "rgb: Rgb = x[0].clamp(0, 1).mul_(255)"
"""Part of `to_rgb`, which turns what a codec decodes into pixels."""


@pytest.fixture(scope="module", autouse=True)
def _quiet_mlflow() -> Iterator[None]:
    """No tracking URI from outside, and none left behind: MLflow keeps it in the environment too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_REGISTRY_URI", raising=False)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
        patch.setenv("GIT_PYTHON_REFRESH", "quiet")
        yield
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


@pytest.fixture(scope="module")
def run_other_code(python: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """A function (program, arguments) that runs a program on a copy of the sources that decodes to negatives."""
    tree = tmp_path_factory.mktemp("other_code")
    for name in ("components", "pipeline"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    tensors = tree / "components" / "codecs" / "tensors.py"
    text = tensors.read_text()
    assert PIXELS in text
    tensors.write_text(text.replace(PIXELS, "rgb: Rgb = ((1 - x[0].clamp(0, 1)) * 255)"))

    def run(program: str, *arguments: str) -> str:
        return python.well("-c", program, *arguments, cwd=tree, environment={**os.environ, "PYTHONPATH": str(tree)})

    return run


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server, which keeps artifacts where its clients do not see them."""
    folder, address = tmp_path_factory.mktemp("server"), f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    command = [sys.executable, "-m", "mlflow", "server", f"--host={host}", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: _answers(f"http://{address}/health"), lambda: server.poll() is None, folder / "log")
        yield f"http://{address}"
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
