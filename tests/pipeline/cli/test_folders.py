"""Commands on folders: the names of the files, their threads, and bad files among them."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from components.arrays import Rgb
from components.cli.files import convert
from components.cli.shared_cores import shared_cores
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.data.image_files import decode_rgb, encode_png
from components.storage.atomic import write_bytes
from pipeline.cli.coding import decompress
from tests.pipeline.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_folder(cli: Cli, photographs: list[Rgb], tmp_path: Path) -> None:
    pictures, streams, decoded = (tmp_path / name for name in ("pictures", "streams", "decoded"))
    pictures.mkdir()
    for k, rgb in enumerate(photographs[:4]):
        (pictures / f"{k}.{'PNG' if k == 0 else 'png'}").write_bytes(encode_png(rgb))
    (pictures / "3.bmp").write_bytes((pictures / "2.png").read_bytes())  # another file of the same stem
    (pictures / "notes.txt").write_text("not a picture, and not asked for")
    cli.well("compress", str(pictures), str(streams), "--checkpoint", "c.safetensors")
    assert {p.name for p in streams.iterdir()} == {"0.PNG.rw", "1.png.rw", "2.png.rw", "3.png.rw", "3.bmp.rw"}
    for k, name in enumerate(("0.PNG.rw", "1.png.rw", "2.png.rw", "3.png.rw")):
        assert (streams / name).read_bytes() == cli.coder.encode(photographs[k])
    cli.well("decompress", str(streams), str(decoded), "--checkpoint", "c.safetensors")
    assert len(list(decoded.iterdir())) == 5
    expected = cli.coder.decode(cli.coder.encode(photographs[1]))
    assert np.array_equal(decode_rgb((decoded / "1.png.png").read_bytes()), expected)


def test_the_threads_of_a_folder_load_a_model_once(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, load, streams = [], checkpoint.load, tmp_path / "streams"
    for k in range(4):
        write_bytes(streams / f"{k}.rw", (cli.cwd / "good.rw").read_bytes())

    def slowly(path: Path, **options: str) -> tuple[Codec, dict[str, Any]]:
        loads.append(path)
        time.sleep(0.2)
        return load(path, **options)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr("components.codecs.deployed.load", slowly)
    monkeypatch.setattr("pipeline.cli.codec_lookup.REFERENCE_CHECKPOINT", cli.cwd / "c.safetensors")
    decompress(str(streams), str(tmp_path / "pictures"))
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    assert loads == [cli.cwd / "c.safetensors"]


@pytest.mark.parametrize(("cores", "files", "threads"), [(4, 6, 1), (4, 2, 2), (4, 1, 4)])
def test_the_threads_of_a_folder_share_the_cores(
    cores: int, files: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its share of torch's threads, and one of BLAS; afterwards the process has what it had."""
    for k in range(files):
        write_bytes(tmp_path / "in" / f"{k}.a", b"")
    seen = []

    def look(_: str, data: bytes) -> bytes:
        time.sleep(0.05)
        blas = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
        seen.append((threading.get_ident(), torch.get_num_threads(), blas))
        return data

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    torch.set_num_threads(cores)
    with threadpool_limits(2, user_api="blas"):
        convert(str(tmp_path / "in"), str(tmp_path / "out"), look, (".a",), ".b", sharing=shared_cores)
        assert {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"} == {2}
    assert torch.get_num_threads() == cores
    assert len({thread for thread, _, _ in seen}) == min(files, cores)
    assert [found for _, found, _ in seen] == [threads] * files
    assert all(blas == {1} for _, _, blas in seen)


def test_a_folder_with_a_bad_file_does_the_others(cli: Cli, photographs: list[Rgb], tmp_path: Path) -> None:
    pictures, streams = tmp_path / "pictures", tmp_path / "streams"
    pictures.mkdir()
    for k, rgb in enumerate(photographs[:2]):
        (pictures / f"{k}.png").write_bytes(encode_png(rgb))
    (pictures / "bad.png").write_text("text")
    said = cli.refused("compress", str(pictures), str(streams), "--checkpoint", "c.safetensors")
    assert "1 of 3 files failed" in said
    assert "bad.png" in said
    assert {p.name for p in streams.iterdir()} == {"0.rw", "1.rw"}


def test_an_empty_folder(cli: Cli, tmp_path: Path) -> None:
    assert "no .png" in cli.refused("compress", str(tmp_path), str(tmp_path / "o"), "--checkpoint", "c.safetensors")
