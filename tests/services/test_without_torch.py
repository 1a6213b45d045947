"""Registered versions in an environment with their own requirements alone, which `pip` takes from its package index."""

import json
import os
import subprocess
import sys
import venv
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.checkpoint import load
from components.codecs.coder import LearnedCoder
from components.data.image_files import decode_rgb, encode_png
from pipeline.paths import CHECKOUT, Layout
from pipeline.registry.models import CHAMPION, RegisteredModel
from pipeline.registry.runs import Run
from tests.services.native_services import answers, service
from tests.services.running_airflow import free_port

# MLflow and its dependencies warn; that is not for this project to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
MODEL = "image-codec"
FLAGSHIP = Layout(CHECKOUT).archived_checkpoint("flagship")
DOWNSTREAM = """
import json, sys
from pathlib import Path
import mlflow
folder, *addresses = map(str, sys.argv[1:])
picture = (Path(folder) / "photo.png").read_bytes()
loaded = [mlflow.pyfunc.load_model(address) for address in addresses]
for place, model in enumerate(loaded):
    [stream] = model.predict([picture])
    (Path(folder) / f"{place}.rw").write_bytes(stream)
    (Path(folder) / f"{place}.png").write_bytes(model.predict([stream])[0])
print(json.dumps([model.unwrap_python_model().codec.name for model in loaded]))
try:
    import torch
except ModuleNotFoundError:
    sys.exit()
sys.exit("torch is here")
"""


@pytest.fixture(scope="module")
def server(make_codec: Callable[..., Codec], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with two versions: the flagship, which is the champion, and a codec of another kind."""
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    checkpoint.save(make_codec("wcae"), folder / "wcae.safetensors")
    with (
        service(command, {**os.environ, **quiet}, folder / "log", lambda: answers(f"{address}/health")),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MLFLOW_TRACKING_URI", address)
        model = RegisteredModel(folder, MODEL)
        for path in (FLAGSHIP, folder / "wcae.safetensors"):
            with Run(folder, "release", str(path), {}) as run:
                model.add(path, run.id, {})
        model.point(CHAMPION, "1")
        yield address


@pytest.fixture(scope="module")
def environment(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with what the champion's requirements.txt names, and nothing else."""
    import mlflow

    folder = tmp_path_factory.mktemp("environment")
    needed = mlflow.artifacts.download_artifacts(f"models:/{MODEL}@{CHAMPION}/requirements.txt", dst_path=str(folder))
    venv.create(folder / "venv", with_pip=True)
    subprocess.run([folder / "venv" / "bin" / "python", "-m", "pip", "install", "-q", "-r", needed], check=True)
    assert server
    return folder / "venv"


def clean(environment: Path, server: str) -> dict[str, str]:
    """The variables of a process in the environment, which sees neither the checkout nor its packages."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "MLFLOW_TRACKING_URI": server, "MLFLOW_DISABLE_TELEMETRY": "true"}


def photograph() -> Any:
    from skimage import data

    return data.astronaut()


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def test_two_versions_run_in_a_process_without_torch(server: str, environment: Path, tmp_path: Path) -> None:
    original = photograph()
    (tmp_path / "photo.png").write_bytes(encode_png(original))
    addresses = [f"models:/{MODEL}@{CHAMPION}", f"models:/{MODEL}/2"]
    done = subprocess.run(
        [environment / "bin" / "python", "-c", DOWNSTREAM, tmp_path, *addresses],
        cwd=tmp_path,
        env=clean(environment, server),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["haar_hyper", "wcae"]
    stream, decoded = (tmp_path / "0.rw").read_bytes(), decode_rgb((tmp_path / "0.png").read_bytes())
    with_torch = LearnedCoder(load(FLAGSHIP)[0]).decode(stream)
    assert np.abs(decoded.astype(int) - with_torch).max() <= 1
    assert 10 * np.log10(255**2 / np.square(decoded.astype(float) - original).mean()) > 30
    assert decode_rgb((tmp_path / "1.png").read_bytes()).shape == original.shape
    assert megabytes(environment) < 500


def test_mlflow_serves_the_champion(server: str, environment: Path, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(environment / "bin" / "mlflow"), "models", "serve", "--model-uri", f"models:/{MODEL}@{CHAMPION}"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]

    def ask(content: bytes) -> httpx.Response:
        return httpx.post(f"{url}/invocations", json={"inputs": [b64encode(content).decode()]}, timeout=120)

    with service(command, clean(environment, server), tmp_path / "log", lambda: answers(f"{url}/ping")):
        stream = b64decode(ask(encode_png(photograph())).json()["predictions"][0])
        png = b64decode(ask(stream).json()["predictions"][0])
        refused = ask(b"neither a picture nor a stream")
    with_torch = LearnedCoder(load(FLAGSHIP)[0]).decode(stream)
    assert np.abs(decode_rgb(png).astype(int) - with_torch).max() <= 1
    assert refused.status_code == 400
    assert "picture" in refused.json()["message"]
