"""Golden files: small checkpoints and streams that every later version must decode to the same latents.

    python -m tests.golden.make

Writes, for every codec of the table that has no folder here yet:

    <codec>/model.safetensors.gz   a checkpoint of the `SIZES` below, after three training steps
    <codec>/<picture>.rw           bitstreams of two crops of scikit-image's photographs
    <codec>/<picture>.png          the pictures that these bitstreams decode to
    palette.rw, palette.png        the sections of a palette in a container, and the picture that they decode to
    index.json                     model hash, and for every bitstream the picture's size and the SHA-256 of its latents

A folder that exists is never written again: its files prove that old streams stay readable. A new codec gets a
folder of its own by this command. A codec whose format changes on purpose gets one under a new name, beside the old.
tests/components/codecs/test_golden.py reads the files.
"""

import gzip
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.bitstream import MODEL_HASH_BYTES, Bitstream, parse
from components.codecs.palette import decode_palette, drawing
from components.codecs.table import CODECS, build
from components.codecs.tensors import to_rgb, to_tensor
from components.data.image_files import encode_png
from tests.drawings import page

FOLDER = Path(__file__).parent
INDEX = FOLDER / "index.json"
STEPS = 3
LMBDA = 0.01
SEED = 0
GAIN = 8.0  # a fine quantiser step, so that few latents are zero and some are escapes

SIZES: dict[str, dict[str, Any]] = {
    "factorized": {"N": 8, "M": 16},
    "minnen": {"N": 8, "M": 16},
    "gmm": {"N": 8},
    "atc": {"N": 8},
    "atc_progressive": {"N": 8, "M": 8},
    "pmsc": {"N": 8, "M": 16},
    "pmsc_hyper": {"N": 8, "M": 16},
    "qae": {"width": 8, "bits": [2, 8], "depths": [1, 1, 1, 1], "channels": 2},
    "cnn_rnn_ae": {"N": 8, "M": 16, "rounds": 2},
    "mlp_lossless": {"width": 16, "head": 8, "window": 32},
    "mlp_lossless_huffman": {"coder": "huffman", "width": 16, "head": 8, "window": 32},
    "cnn_ae": {"N": 8, "M": 16, "mu": 0.0},
    "cnn_ae_ft": {"N": 8, "M": 16, "mu": 0.0},
    "gan_ae_w": {"N": 8, "M": 16, "D": 4},
    "gan_ae_dc": {"N": 8, "M": 16, "D": 4},
    "haar_hyper": {"fine": 8, "coarse": 8, "M": 16, "N": 4, "depths": [1, 1]},
    "haar_hyper_hierarchical": {
        "fine": 8,
        "coarse": 8,
        "M": 16,
        "N": 4,
        "depths": [1, 1],
        "context": "hierarchical",
    },
}
"""Hyper-parameters of the golden models by folder; codecs without an entry have none to choose."""

FURTHER = {"mlp_lossless_huffman": "mlp_lossless", "haar_hyper_hierarchical": "haar_hyper"}
"""Folders beside those that are called as their codec, for codecs with two formats: folder to codec."""


def pictures() -> dict[str, Rgb]:
    """Two crops by name: "face" with 96x128 pixels, and "cup" with odd sides, 61x75."""
    from skimage import data

    face, cup = data.astronaut()[60:156, 160:288], data.coffee()[90:151, 230:305]
    return {"face": np.ascontiguousarray(face), "cup": np.ascontiguousarray(cup)}


def trained(entry: str) -> Codec:
    """The codec of a folder after a few training steps, so that its entropy model has seen latents."""
    from skimage import data

    torch.manual_seed(SEED)
    codec = build(FURTHER.get(entry, entry), SIZES.get(entry, {}))
    patches = torch.cat([to_tensor(data.chelsea()[y : y + 64, 100:164]) for y in (20, 80, 140, 200)])
    optimizer = torch.optim.Adam(codec.parameters(), 1e-3)
    codec.train()
    for _ in range(STEPS):
        codec.loss(patches, codec(patches), LMBDA).total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        for parameter in codec.parameters():  # in 16 bits, which compress to half
            parameter.copy_(parameter.half())
    if codec.has_lambda:
        codec.gain.fill_(GAIN)
    return codec.eval()


def streams(codec: Codec) -> dict[str, bytes]:
    """One bitstream of each picture, of two rates where the codec has them; of a progressive codec a part as well."""
    face, cup = (to_tensor(rgb) for rgb in pictures().values())
    made = {"face": codec.pack(codec.latents(face), face.shape[-2:])}
    gain = float(codec.operating_points[0][-1]) if codec.operating_points else codec.gain.item() / 4
    made["cup"] = codec.pack(codec.latents(cup), cup.shape[-2:], gain)
    if codec.progressive:
        made["face-first-half"] = parse(made["face"]).truncate(len(made["face"]) // 2)
    return made


def digest(latents: torch.Tensor) -> str:
    """SHA-256 of the float32 latents (1, C, h, w), in C order and little-endian."""
    return hashlib.sha256(latents.contiguous().numpy().astype("<f4").tobytes()).hexdigest()


def make(entry: str) -> dict[str, Any]:
    """Write a folder; returns what the index says of it."""
    codec, folder = trained(entry), FOLDER / entry
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.safetensors"
        checkpoint.save(codec, path)
        (folder / "model.safetensors.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    facts: dict[str, Any] = {"codec": codec.name, "model_hash": codec.model_hash().hex(), "streams": {}}
    for key, stream in streams(codec).items():
        (folder / f"{key}.rw").write_bytes(stream)
        rgb = to_rgb(codec.decompress([stream]))
        (folder / f"{key}.png").write_bytes(encode_png(rgb))
        height, width = rgb.shape[:2]
        facts["streams"][key] = {"height": height, "width": width, "latents_sha256": digest(codec.unpack(stream))}
    return facts


def make_palette() -> None:
    """Write the files of a palette."""
    rgb = page(90, 300)
    drawn = drawing(rgb)
    assert drawn is not None
    sections = drawn.coded(error_weight=0.01).sections
    stream = Bitstream("palette", bytes(MODEL_HASH_BYTES), rgb.shape[1], rgb.shape[0], sections)
    (FOLDER / "palette.rw").write_bytes(stream.pack())
    (FOLDER / "palette.png").write_bytes(encode_png(decode_palette(sections, *rgb.shape[:2])))


def main() -> None:
    """Make what is missing."""
    torch.set_num_threads(1)
    index = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    for entry in (*CODECS, *FURTHER):
        if entry not in index:
            index[entry] = make(entry)
            INDEX.write_text(json.dumps(index, indent=1) + "\n")
    if not (FOLDER / "palette.rw").exists():
        make_palette()


if __name__ == "__main__":
    main()
