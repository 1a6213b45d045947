"""The benchmark of a GPU on the processor: it runs, tells whether latents are equal, and says where it has no GPU."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.exactness import exactness
from components.codecs.base import Codec


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    gpu.main()


@pytest.mark.usefixtures("one_thread")
def test_on_the_processor(tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "figures.json"
    short = ["--steps", "2", "--rounds", "1", "--batch-size", "1", "--workers", "0", "--codecs", "haar_hyper"]
    run(monkeypatch, "--device", "cpu", *short, "--shards", str(tiny_shards), "--json", str(file))
    figures = json.loads(file.read_text())["codecs"]["haar_hyper"]
    assert figures["exact"] == {"cpu to cpu": True}
    assert 0 <= figures["waiting_share"] < 1
    assert figures["tflops"] > 0


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^benchmarks\.gpu: no CUDA device here; --device cpu.*$"):
        run(monkeypatch)


def test_latents_that_differ_are_told(make_codec: Callable[..., Codec], monkeypatch: pytest.MonkeyPatch) -> None:
    codec, x = make_codec("haar_hyper"), torch.rand(1, 3, 40, 50)
    assert exactness(codec, torch.device("cpu"), x) == {"cpu to cpu": True}
    monkeypatch.setattr(type(codec), "unpack", lambda _codec, _stream: torch.rand(4))
    assert exactness(codec, torch.device("cpu"), x) == {"cpu to cpu": False}
