"""The package as other programs install it: under its own name alone, without torch and the pipeline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from components.codecs.base import Codec
from components.codecs.export import export
from components.codecs.table import build
from components.codecs.tensors import to_rgb, to_tensor
from components.data.image_files import decode_rgb, encode_png

ROOT = Path(__file__).parents[2]
WITHOUT_PIPELINE = """
import sys
heavy = ("torch", "dvc", "mlflow", "ray", "airflow", "typer", "rich", "pydantic", "components", "pipeline")
sys.modules.update(dict.fromkeys(heavy))  # an import of one fails
from ratewright.cli import main
main()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the wheel's content."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    for name in ("components", "pipeline", "dags"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*pip, str(folder), str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("ratewright-*-py3-none-any.whl")
    ZipFile(wheel).extractall(folder / "packages")
    return folder / "packages"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Codec, Path]:
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    codec = build("nowcae", {}).eval()
    export(codec, folder)
    return codec, folder


def ratewright(
    site: Path, *arguments: object, stdin: bytes = b"", codec: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(site), **({} if codec is None else {"RATEWRIGHT_CODEC": str(codec)})}
    command = [sys.executable, "-c", WITHOUT_PIPELINE, *map(str, arguments)]
    return subprocess.run(command, cwd=site, env=environment, input=stdin, capture_output=True, check=False)


def test_it_has_one_name(site: Path) -> None:
    names = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"ratewright"}
    there = {path.relative_to(site / "ratewright") for path in (site / "ratewright").rglob("*.py")}
    assert there == {path.relative_to(ROOT / "components") for path in (ROOT / "components").rglob("*.py")}


def test_it_needs_no_more_than_it_says(site: Path) -> None:
    (metadata,) = site.glob("*.dist-info/METADATA")
    always = [
        line.split()[1].partition(">")[0]
        for line in metadata.read_text().splitlines()
        if line.startswith("Requires-Dist") and "extra ==" not in line
    ]
    assert always == ["constriction", "numpy", "onnxruntime", "pillow", "safetensors", "threadpoolctl"]


def test_a_picture_goes_to_a_file_and_back(site: Path, exported: tuple[Codec, Path], tmp_path: Path) -> None:
    codec, folder = exported
    rgb = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    (tmp_path / "photo.png").write_bytes(encode_png(rgb))
    made = ratewright(site, "compress", tmp_path / "photo.png", tmp_path / "photo.rw", "--codec", folder)
    assert (made.returncode, made.stdout, made.stderr) == (0, b"", b"")
    stream = (tmp_path / "photo.rw").read_bytes()
    assert stream == codec.compress(to_tensor(rgb))[0]
    shown = ratewright(site, "info", tmp_path / "photo.rw").stdout.decode()
    assert "picture     90x70" in shown
    assert f"model       {codec.model_hash().hex()}" in shown
    decoded = ratewright(site, "decompress", "-", "-", stdin=stream, codec=folder)
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    difference = decode_rgb(decoded.stdout).astype(int) - to_rgb(codec.decompress([stream]))
    assert np.abs(difference).max() <= 1


def test_mistakes_are_one_line(site: Path, exported: tuple[Codec, Path], tmp_path: Path) -> None:
    _, folder = exported
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "weights.safetensors").write_bytes(b"")
    mistakes: dict[str, list[str | Path]] = {
        "name the codec with --codec or in RATEWRIGHT_CODEC": ["compress", "a.png", "a.rw"],
        "not a picture in a known format": ["compress", tmp_path / "broken.png", tmp_path / "a.rw", "--codec", folder],
        "takes torch": ["compress", "a.png", "a.rw", "--codec", tmp_path / "weights.safetensors"],
        "not an exported codec": ["decompress", "a.rw", "a.png", "--codec", tmp_path],
        "no gradients": ["compress", tmp_path / "photo.png", "-", "--codec", folder, "--effort", "3"],
        "takes the extra `serve`": ["serve", folder],
        "No such file": ["info", tmp_path / "nowhere.rw"],
    }
    (tmp_path / "photo.png").write_bytes(encode_png(np.zeros((9, 9, 3), np.uint8)))
    for said, arguments in mistakes.items():
        done = ratewright(site, *arguments)
        assert done.returncode == 2, said
        assert done.stdout == b""
        assert done.stderr.decode().startswith("error: ")
        assert said in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "a.rw").exists()


def test_programs_import_one_package(site: Path, exported: tuple[Codec, Path]) -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'components'))); import numpy, ratewright;"
        "codec = ratewright.load(sys.argv[1]); rgb = numpy.zeros((33, 47, 3), numpy.uint8);"
        "assert codec.decompress(codec.compress(rgb)).shape == rgb.shape; print(codec.name, codec.model_hash.hex());"
        "\ntry: codec.decompress(b'RW')\nexcept ratewright.RatewrightError as error: print(error)"
    )
    codec, folder = exported
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(
        command, cwd=site, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"nowcae {codec.model_hash().hex()}", "truncated bitstream"]
