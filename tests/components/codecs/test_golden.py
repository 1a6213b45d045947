"""Checkpoints and streams that earlier versions wrote decode today to what they decoded to then."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.bitstream import parse
from components.codecs.palette import decode_palette
from components.codecs.table import CODECS
from components.codecs.tensors import to_rgb, to_tensor
from components.data.image_files import decode_rgb
from tests.golden.make import FOLDER, INDEX, digest, pictures

pytestmark = pytest.mark.usefixtures("one_thread")

GOLDEN: dict[str, dict[str, Any]] = json.loads(INDEX.read_text())
ENTRIES = pytest.mark.parametrize("entry", GOLDEN)
CHAMPION = Path(__file__).parents[3] / "results" / "real" / "champion.safetensors"
CHAMPION_HASH = "a9b25c8b694a345e"
MOST_CHANGED = 0.02


@pytest.fixture(scope="module")
def load_golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Codec]:
    folder = tmp_path_factory.mktemp("golden")

    def load(entry: str) -> Codec:
        path = folder / f"{entry}.safetensors"
        if not path.exists():
            path.write_bytes(gzip.decompress((FOLDER / entry / "model.safetensors.gz").read_bytes()))
        return checkpoint.load(path, codec=GOLDEN[entry]["codec"])[0]

    return load


def test_every_codec_has_golden_streams() -> None:
    assert {entry["codec"] for entry in GOLDEN.values()} == set(CODECS)


@ENTRIES
def test_golden_streams_decode_to_their_latents_and_pictures(entry: str, load_golden: Callable[[str], Codec]) -> None:
    codec = load_golden(entry)
    assert codec.model_hash().hex() == GOLDEN[entry]["model_hash"]
    for name, facts in GOLDEN[entry]["streams"].items():
        stream = (FOLDER / entry / f"{name}.rw").read_bytes()
        assert digest(codec.unpack(stream)) == facts["latents_sha256"], name
        decoded = to_rgb(codec.decompress([stream]))
        assert decoded.shape == (facts["height"], facts["width"], 3)
        recorded = decode_rgb((FOLDER / entry / f"{name}.png").read_bytes())
        assert np.abs(decoded.astype(int) - recorded).max() <= 2, name


def test_a_golden_palette_decodes_to_its_picture() -> None:
    stream = parse((FOLDER / "palette.rw").read_bytes())
    decoded = decode_palette(stream.sections, stream.height, stream.width)
    assert np.array_equal(decoded, decode_rgb((FOLDER / "palette.png").read_bytes()))


@ENTRIES
def test_encoding_again_gives_the_golden_latents(entry: str, load_golden: Callable[[str], Codec]) -> None:
    """The analysis is in floating point: on other processors a few latents may round the other way."""
    codec = load_golden(entry)
    x = to_tensor(pictures()["face"])
    golden = codec.unpack((FOLDER / entry / "face.rw").read_bytes())
    again = codec.unpack(codec.compress(x)[0])
    assert torch.ne(again, golden).float().mean() <= MOST_CHANGED


def test_the_kept_champion_is_the_same_model() -> None:
    codec, facts = checkpoint.load(CHAMPION)
    assert facts["codec"] == "haar_hyper"
    assert codec.model_hash().hex() == CHAMPION_HASH
