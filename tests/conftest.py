"""What tests of several folders share: small photographs, shards cut from them, codecs nobody trained, servers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.arrays import Rgb
from components.storage import remote as remote_sources
from tests.site import Site
from tests.small_profile import small_params, small_text

if TYPE_CHECKING:
    from components.codecs.base import Codec

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

Clone = tuple[Path, dict[str, str]]
"""A checkout, and the environment that its commands run in."""


LONGEST = (
    "test_first_run.py",  # makes the finished run, which the other worker waits for if it asks for it meanwhile
    "test_sweep.py",
    "test_tasks.py",
    "test_warm_stages.py",
    "test_repro_weather.py",
    "test_later_runs.py",
    "test_index_coder.py",
    "test_own_code.py",
    "test_followed.py",
    "test_faults.py",
    "test_code_hashes.py",
    "test_portable.py",
    "test_repro.py",
    "test_sweep_run.py",
    "test_gc.py",
    "test_interpolated.py",
    "test_exactness.py",
    "test_ranks.py",
    "test_divergence.py",
    "test_codecs.py",
)
"""The files that take longest. Begun last, one of them would keep one worker waiting for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, in their order."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, as bit-for-bit comparisons and shared machines want it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photograph() -> Rgb:
    """(160, 192, 3): a face, hair, a plain background."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[20:180, 130:322])


@pytest.fixture(scope="session")
def photographs() -> list[Rgb]:
    """Eight different pictures of about 128x150."""
    from skimage import data

    whole = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    corners = ((30, 100), (150, 240))
    return [
        np.ascontiguousarray(rgb[y : y + 128 + 3 * k, x : x + 150 - k])
        for k, rgb in enumerate(whole)
        for y, x in corners
    ]


@pytest.fixture(scope="session")
def picture_files(photographs: list[Rgb], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """`photographs` as PNG files."""
    from components.data.image_files import encode_png

    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"p{k}.png" for k in range(len(photographs))]
    for path, rgb in zip(paths, photographs, strict=True):
        path.write_bytes(encode_png(rgb))
    return paths


@pytest.fixture(scope="session")
def tiny_shards(picture_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards with 64x64 patches: five of each of eight pictures, seven to a tar."""
    import hashlib

    from components.data.shard_spec import ShardSpec
    from components.data.shard_writer import SourceImage, write_shards

    sources = [SourceImage(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in picture_files]
    spec = ShardSpec(
        patch=64, smallest_scale=0.6, largest_angle=45.0, rotated_share=0.3, patches_per_image=5, train_share=0.7
    )
    out = tmp_path_factory.mktemp("shards")
    write_shards(sources, spec, out, seed=1, parallel_map=map, samples_per_shard=7)
    return out


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote_sources, "BACKOFF_S", 0.001)
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3

    monkeypatch.setattr(remote_sources, "BACKOFF_S", 0.001)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    yield client
    client.close()


SMALL: dict[str, dict[str, Any]] = {
    "factorized": {"N": 12, "M": 16},
    "minnen": {"N": 12, "M": 16},
    "gmm": {"N": 16},
    "atc": {"N": 16},
    "atc_progressive": {"N": 12, "M": 16},
    "pmsc": {"N": 8, "M": 16},
    "pmsc_hyper": {"N": 8, "M": 16},
    "qae": {"width": 8, "bits": [2, 8], "depths": [1, 1, 1, 1], "channels": 4},
    "cnn_rnn_ae": {"N": 8, "M": 16, "rounds": 2},
    "mlp_lossless": {"width": 16, "head": 8, "window": 32},
    "cnn_ae": {"N": 24, "M": 16, "mu": 0.0},
    "cnn_ae_ft": {"N": 24, "M": 16, "mu": 0.0},
    "gan_ae_w": {"N": 24, "M": 16, "D": 4},
    "gan_ae_dc": {"N": 24, "M": 16, "D": 4},
    "haar_hyper": {"fine": 16, "coarse": 24, "M": 32, "N": 8, "depths": [1, 1]},
}
"""Hyper-parameters of codecs for tests; others have those of the small profile."""


def small_hyperparameters(name: str) -> dict[str, Any]:
    profile = small_params()
    variants = {**profile["variants"], **profile["fine_tuned"]}
    known: dict[str, dict[str, Any]] = {v["codec"]: v["hyperparameters"] for v in variants.values()}
    return {**known, **SMALL}.get(name, {})


@pytest.fixture(scope="session")
def make_codec() -> "Callable[..., Codec]":
    """A function (name, seed) that builds an untrained codec in evaluation mode."""

    def make(name: str = "wcae", seed: int = 0) -> "Codec":
        import torch

        from components.codecs.table import build

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(name, small_hyperparameters(name)).eval()

    return make


def environment_of(clone: Path) -> dict[str, str]:
    """The environment that commands of the repository in `clone` run in, with nothing of the tests' own."""
    apart = ("AIRFLOW", "AWS_", "GIT_", "MLFLOW_", "RATEWRIGHT_")
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(apart)},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
    }


def make_clone(folder: Path) -> Clone:
    """Make a repository of the tracked files in `folder`, with the smallest budgets, committed."""
    from ruamel.yaml import YAML

    checkout = Path(__file__).resolve().parents[1]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (checkout / name).exists() and name != "dvc.lock" and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(checkout / name, folder / name)
    yaml = YAML()
    params = yaml.load(small_text())
    params["baselines"] = ["jpeg", "webp"]
    params["variants"], params["efforts"] = {name: params["variants"][name] for name in ("wcae", "nowcae")}, {}
    params["fine_tuned"] = {}
    params["shards"]["patches_per_image"] = 4
    for variant in params["variants"].values():
        variant["train"] |= {"steps": 12, "validate_every": 6, "validation_patches": 4}
        variant["calibrate"] |= {"tolerance": 0.05, "rounds": 1}
    yaml.dump(params, folder / "params.yaml")
    environment = environment_of(folder)
    for command in (
        ["init", "-q", "--initial-branch=main"],
        ["config", "user.name", "test"],
        ["config", "user.email", "test@example.invalid"],
        ["add", "-A"],
        ["commit", "-q", "-m", "a checkout"],
    ):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True)
    return folder, environment


@pytest.fixture(scope="session")
def new_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Clone]:
    """`make_clone` in a folder of its own."""
    return lambda: make_clone(tmp_path_factory.mktemp("clone"))
