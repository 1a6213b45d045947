"""`ratewright compress --effort` in processes of their own, with the flagship of results/."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.deployed import DeployedCodec
from components.data.image_files import decode_rgb, encode_png
from pipeline.paths import CHECKOUT, Layout

pytestmark = pytest.mark.usefixtures("one_thread")


def ratewright(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "PATH": ""}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_a_file_and_a_folder_at_an_effort(photograph: Rgb, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in.png").write_bytes(encode_png(photograph))
    assert ratewright("compress", "folder/in.png", "one.rw", "--effort", "3", cwd=tmp_path).returncode == 0
    assert ratewright("compress", "folder", "all", "--effort", "3", cwd=tmp_path).returncode == 0
    data = (tmp_path / "one.rw").read_bytes()
    assert data == (tmp_path / "all" / "in.rw").read_bytes()

    codec = DeployedCodec(Layout(CHECKOUT).archived_checkpoint("flagship"))
    assert data == codec.encode(photograph, effort=3)
    assert data != codec.encode(photograph)
    assert ratewright("decompress", "one.rw", "one.png", cwd=tmp_path).returncode == 0
    assert (decode_rgb((tmp_path / "one.png").read_bytes()) == codec.decode(data)).all()


def test_every_kept_winner_decodes_its_files(photograph: Rgb, tmp_path: Path) -> None:
    checkpoints = Layout(CHECKOUT).archived_checkpoints
    assert len(checkpoints) >= 2
    for checkpoint_of_run in checkpoints:
        codec = DeployedCodec(checkpoint_of_run)
        data = codec.encode(photograph)
        (tmp_path / "one.rw").write_bytes(data)
        assert ratewright("decompress", "one.rw", "one.png", cwd=tmp_path).returncode == 0
        assert (decode_rgb((tmp_path / "one.png").read_bytes()) == codec.decode(data)).all()


def test_refusals(photograph: Rgb, make_codec: Callable[..., Codec], tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(encode_png(photograph))
    checkpoint.save(make_codec("wcae"), tmp_path / "wcae.safetensors")
    refused = ratewright(
        "compress", "in.png", "o.rw", "--effort", "2", "--checkpoint", "wcae.safetensors", cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "in.png: codec 'wcae' has no efforts" in refused.stderr.replace("\n", " ")
    assert ratewright("compress", "in.png", "o.rw", "--effort", "10", cwd=tmp_path).returncode == 2
    assert not (tmp_path / "o.rw").exists()
