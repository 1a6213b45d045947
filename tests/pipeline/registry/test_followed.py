"""A service of a registered model follows its champion: a real MLflow on sqlite, a real service, and no torch."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.data.image_files import encode_png
from pipeline.registry.client import client
from pipeline.registry.models import CHAMPION, RegisteredModel
from pipeline.registry.runs import Run
from tests.components.serving.running import running, wait_for

# MLflow and its dependencies warn; that is not for this project to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[3]
MODEL = "codec"


def register(root: Path, codec: Codec) -> str:
    """Register a codec, and return its version."""
    path = root / "codec.safetensors"
    checkpoint.save(codec, path)
    with Run(root, "release", "a codec", {}) as run:
        return RegisteredModel(root, MODEL).add(path, run.id, {"model_hash": codec.model_hash().hex()})


def test_a_promotion_takes_effect_without_a_restart(
    make_codec: Callable[..., Codec], photograph: Rgb, empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path)
    codecs, picture = [make_codec("nowcae", seed=seed) for seed in range(3)], encode_png(photograph)
    versions = [register(tmp_path, codec) for codec in codecs]
    model = RegisteredModel(tmp_path, MODEL)
    model.point(CHAMPION, versions[0])
    address = f"models:/{MODEL}@{CHAMPION}"
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with running(address, "--poll=0.2", **environment) as service:
        streams = [service.compress(picture)]
        model.point(CHAMPION, versions[1])
        wait_for(lambda: service.health()["version"] == versions[1], "promotion")
        streams.append(service.compress(picture))
        assert [answer.headers["ratewright-version"] for answer in streams] == versions[:2]
        hashes = [codec.model_hash().hex() for codec in codecs]
        assert [answer.headers["ratewright-model"] for answer in streams] == hashes[:2]
        decoded = [service.decompress(answer.content) for answer in streams]
        assert [answer.headers["ratewright-version"] for answer in decoded] == versions[:2]

        files = client(tmp_path).get_model_version_download_uri(MODEL, versions[2])
        shutil.rmtree(Path(files.removeprefix("file://")))
        model.point(CHAMPION, versions[2])
        wait_for(lambda: service.health()["problem"] is not None, "problem")
        assert f"version {versions[2]} does not load" in str(service.health()["problem"])
        assert service.compress(picture).headers["ratewright-version"] == versions[1]

        model.point(CHAMPION, versions[0])  # a rollback
        wait_for(lambda: service.health()["version"] == versions[0], "rollback")
        assert service.health()["problem"] is None
        assert service.decompress(streams[1].content).headers["ratewright-version"] == versions[1]
