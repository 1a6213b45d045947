"""Loss J of a codec after a fixed time of training on one core, and real files of fixed pictures.

    J = bits per pixel + lambda * 255^2 * MSE on [0, 1],  lambda = 0.004, bytes and errors of whole files

on the 512x512 middles of the pictures of CLIC 2025 and Kodak: one figure for each set. Data, seed and lambda are the
same for every row, so that ideas compare. `ceiling` is the PSNR of synthesis(analysis(x)), without quantisation.

Needs the data of the profile `real`: `ratewright use real`, `dvc repro fetch shard`. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.equal_minutes NAME [--minutes 10] [-S learning_rate=0.003] [-S M=192]

-S sets a field of the training (`optimizer`, `learning_rate`, ...) or else a hyper-parameter of the codec.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from benchmarks.common import Clock, command_line, console, middle
from components.arrays import Rgb
from components.codecs.checkpoint import save
from components.codecs.coder import LearnedCoder
from components.codecs.families.transform import TransformCodec
from components.codecs.table import build
from components.data.image_files import decode_rgb
from components.data.manifest import MANIFEST, Manifest
from components.data.shard_reader import Shards
from components.evaluation.ceiling import ceiling_db
from components.metrics.quality import psnr_db
from components.training.config import TrainingConfig
from components.training.loop import train

LMBDA, SEED, SIDE = 0.004, 7, 512
LOSSLESS_DB = 100.0  # for a picture without an error
TRAINING = {
    "batch_size": 8,
    "learning_rate": 0.002,
    "lmbda": LMBDA,
    "precision": "bf16-mixed",
    "validate_every": 100,
    "validation_patches": 64,
}
"""The training of the profile `real`, at a lambda that stays."""


class Log(Clock):
    """Prints the validations, and counts the steps."""

    def on_validation(self, validation: Any) -> None:
        """Print one."""
        console.print(f"  step {validation.step}: validation J {validation.val_loss:.4f}")


def crops(folder: Path) -> list[Rgb]:
    """The middles of a fetched set's pictures."""
    pictures = (decode_rgb((folder / file.name).read_bytes()) for file in Manifest.read(folder / MANIFEST).files)
    return [middle(rgb, SIDE) for rgb in pictures]


def measured(codec: TransformCodec, pictures: list[Rgb]) -> dict[str, float]:
    """Means over the pictures: J, bits per pixel and PSNR of real files, and the ceiling."""
    coder, rows = LearnedCoder(codec), []
    for rgb in pictures:
        data = coder.encode(rgb)
        decoded = coder.decode(data)
        bpp = 8 * len(data) / (rgb.shape[0] * rgb.shape[1])
        error = float(np.square(rgb.astype(np.float64) - decoded).mean())
        ceiling = ceiling_db(codec, rgb)
        rows.append((bpp + LMBDA * error, bpp, psnr_db(rgb, decoded) or LOSSLESS_DB, ceiling or LOSSLESS_DB))
    means = np.mean(rows, axis=0)
    return {
        name: round(float(mean), 4) for name, mean in zip(("J", "bpp", "psnr_db", "ceiling_db"), means, strict=True)
    }


def main() -> None:
    """Train, measure, print one line of JSON, and append it to a file."""
    parser = command_line(__doc__)
    parser.add_argument("name", help="of the row")
    parser.add_argument("--codec", default="haar_hyper")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="a budget in steps instead")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of a checkout with the sets")
    parser.add_argument("--shards", default="photographs", help="a folder of data/shards")
    parser.add_argument("--work", type=Path, default=Path("work/equal_minutes"), help="for the resumable state")
    parser.add_argument("--rows", type=Path, default=Path("work/equal_minutes/rows.jsonl"))
    parser.add_argument("-S", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    training: dict[str, Any] = dict(TRAINING)
    hyperparameters: dict[str, Any] = {}
    for setting in arguments.settings:
        key, _, text = setting.partition("=")
        target = training if key in TrainingConfig.model_fields else hyperparameters
        target[key] = YAML(typ="safe").load(text)
    budget = {"minutes": arguments.minutes} if arguments.steps is None else {"steps": arguments.steps}
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    codec = build(arguments.codec, hyperparameters)
    assert isinstance(codec, TransformCodec)
    log, config = Log(), TrainingConfig(**training, **budget)
    started = time.process_time()
    state = train(
        codec,
        Shards(str(arguments.data / "shards" / arguments.shards)),
        config,
        seed=SEED,
        state_path=arguments.work / f"{arguments.name}.safetensors",
        fingerprint=json.dumps([arguments.codec, hyperparameters, config.model_dump(), arguments.shards]),
        callback=log,
    )
    cpu_s = time.process_time() - started
    save(codec, arguments.work / f"{arguments.name}.checkpoint.safetensors", lmbda=LMBDA)
    sets = {name: measured(codec, crops(arguments.data / "raw" / name)) for name in ("clic2025-validation", "kodak")}
    row = {
        "name": arguments.name,
        "settings": arguments.settings,
        "shards": arguments.shards,
        "steps": state.step,
        "minutes": round(state.elapsed_s / 60, 2),
        "cpu_minutes": round(cpu_s / 60, 2),
        "val_J": min(row.val_loss for row in state.history if row.val_loss is not None),
        **sets,
    }
    text = json.dumps(row)
    with arguments.rows.open("a") as file:
        file.write(text + "\n")
    console.print(text)


if __name__ == "__main__":
    main()
