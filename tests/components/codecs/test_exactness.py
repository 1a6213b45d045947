"""What one process encodes, every other decodes to the same latents, byte for byte."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.table import CODECS
from components.codecs.tensors import to_tensor
from components.entropy.hyperprior import HyperPrior

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., Codec]
SIDE, PICTURES, BATCH = 64, 12, 4

DECODER = """
import hashlib, json, sys, warnings
from pathlib import Path
import torch
warnings.simplefilter("ignore")
threads, mkldnn, device, *names = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.backends.mkldnn.enabled = mkldnn == "mkldnn"
from components.codecs.checkpoint import load
for name in names:
    codec = load(Path(f"{name}.safetensors"))[0].to(device)
    streams = [path.read_bytes() for path in sorted(Path(name).glob("*.rw"))]
    digest = hashlib.sha256()
    for stream in streams:
        digest.update(codec.unpack(stream).cpu().numpy().tobytes())
    print(name, digest.hexdigest())
"""


@pytest.fixture(scope="module")
def crops() -> Tensor:
    """(PICTURES, 3, SIDE, SIDE): pieces of photographs."""
    from skimage import data

    random, pictures = np.random.default_rng(0), [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    pieces = []
    for k in range(PICTURES):
        rgb = pictures[k % len(pictures)]
        top, left = (int(random.integers(0, side - SIDE)) for side in rgb.shape[:2])
        pieces.append(to_tensor(np.ascontiguousarray(rgb[top : top + SIDE, left : left + SIDE])))
    return torch.cat(pieces)


@pytest.fixture(scope="module")
def written(make_codec: Make, crops: Tensor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with the checkpoint and the streams of every codec, and the hash of the latents that they stand for.

    Codecs have taken a few steps, every other in bfloat16, and are encoded in batches of 1 and of 4.
    """
    folder, expected = tmp_path_factory.mktemp("streams"), {}
    for number, name in enumerate(CODECS):
        codec = make_codec(name)
        optimizer = torch.optim.Adam(codec.parameters(), 1e-3)
        codec.train()
        for step in range(3):
            with torch.autocast("cpu", torch.bfloat16, enabled=number % 2 == 0):
                loss = codec.loss(crops[step : step + 4], codec(crops[step : step + 4]), 0.01).total
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        codec.eval()
        streams = [codec.compress(one)[0] for one in torch.split(crops[:-BATCH], 1)]
        streams += codec.compress(crops[-BATCH:])
        (folder / name).mkdir()
        digest = hashlib.sha256()
        for k, stream in enumerate(streams):
            (folder / name / f"{k:03d}.rw").write_bytes(stream)
            digest.update(codec.unpack(stream).numpy().tobytes())
        checkpoint.save(codec, folder / f"{name}.safetensors")
        expected[name] = digest.hexdigest()
    return folder, expected


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize(("threads", "mkldnn"), [(2, "mkldnn"), (1, "plain")])
@pytest.mark.parametrize("device", DEVICES)
def test_another_process_decodes_the_same_latents(
    threads: int, mkldnn: str, device: str, written: tuple[Path, dict[str, str]]
) -> None:
    """On more threads than the encoder, or without oneDNN's kernels."""
    folder, expected = written
    done = subprocess.run(
        [sys.executable, "-c", DECODER, str(threads), mkldnn, device, *expected],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "OMP_WAIT_POLICY": "passive",  # a thread that waits leaves its core to other tests
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert dict(line.split() for line in done.stdout.splitlines()) == expected


def test_what_is_decoded_is_what_was_quantised(make_codec: Make, crops: Tensor) -> None:
    """Not only equal everywhere, but the encoder's own choice: within half a step of the latents.

    A hyperprior's encoder may choose the next value, and a progressive one leaves out up to three steps.
    """
    for name in CODECS:
        codec = make_codec(name)
        for one in torch.split(crops[:4], 1):
            latents = codec.latents(one)
            decoded = codec.unpack(codec.pack(latents, one.shape[-2:]))
            decides = isinstance(getattr(codec, "entropy", None), HyperPrior)
            reach = 3.5 if codec.progressive else 1.0 if decides else 0.5
            assert (decoded - latents).abs().max() <= reach + 1 / 128
            assert (decoded - latents).abs().mean() <= 0.5
            assert len(set(decoded.flatten().tolist())) > 2


@pytest.mark.parametrize("name", ["minnen", "gmm", "haar_hyper"])
def test_integers_cost_hardly_more_than_floats(name: str, make_codec: Make, crops: Tensor) -> None:
    """The bits under the integer networks' distributions against those under the float ones: at most 0.5 % more."""
    from components.entropy.hyperprior import HyperPrior

    codec = make_codec(name)
    entropy = codec.entropy
    assert isinstance(entropy, HyperPrior)
    with torch.no_grad():
        codec.train()(crops)  # a prior that knows the scale of its latents
    codec.eval()
    with torch.inference_mode():
        y = codec.analyse(crops)
        exactly = entropy(y).bits.sum()
        entropy.fix_encoder()
        entropy.training = True  # of its own, so that no statistics move
        floating = entropy(y).bits.sum()
    assert floating > 1000
    assert 0.98 * floating < exactly < 1.005 * floating, "the decisions of the coder know its tables"
