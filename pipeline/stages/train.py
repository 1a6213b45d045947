"""The stages `train` and `fine_tune`: a variant trained on its shards, from the start or from another's checkpoint.

They write models/<name>/trained.safetensors and history.jsonl.
"""

import json
from pathlib import Path
from typing import Any

import torch

from components.codecs.base import Codec
from components.codecs.table import build
from components.errors import RatewrightError
from components.evaluation import LearnedCoder
from components.files import sha256_of, write_bytes
from components.images.shard_reader import Shards
from components.training import checkpoint
from components.training.loop import train
from components.training.rate_control import RateControl
from pipeline import params, tracking
from pipeline.console import console
from pipeline.entry import stage
from pipeline.layout import Layout
from pipeline.params import FineTuned, Training, Variant
from pipeline.pictures import pictures
from pipeline.provenance import git_commit
from pipeline.training import config_of, fingerprint, narrated, published_weights, rate_on

SAMPLES = 2  # calibration pictures whose reconstructions the run shows


def run(root: Path, name: str) -> None:
    """Train the variant `name`, or go on with a training that was stopped."""
    settings, layout = params.load(root), Layout(root)
    variant = settings.variant(name)
    shards, calibration = layout.shards(settings.shards_of(name)), layout.raw(settings.data.calibration)
    data_hash = sha256_of(shards / "index.json")
    start = _start(variant, layout)
    state_path = layout.resumable("train", name) / "state.safetensors"
    identity = fingerprint(variant.model_dump(), settings.seed, settings.target_bpp, data_hash, start)

    torch.manual_seed(settings.seed)
    codec, training = _begun(name, variant, layout, start)
    control, rate_of = None, None
    samples = [(file, rgb) for file, rgb in pictures(calibration, max(SAMPLES, training.steer_images))]
    config = config_of(training, settings.seed)
    if training.steer and codec.knob is not None and codec.steered:
        control = RateControl(settings.target_bpp, config.lmbda, codec.knob.raises_rate)
        rate_of = rate_on([rgb for _, rgb in samples[: training.steer_images]])

    with (
        tracking.Run(root, f"train {name}", identity, {"seed": settings.seed, **variant.model_dump()}) as tracked,
        narrated(f"train {name}", tracked.log_row) as narrator,
    ):
        state = train(
            codec,
            Shards(str(shards)),
            config,
            state_path=state_path,
            fingerprint=identity,
            observer=narrator,
            control=control,
            rate_of=rate_of,
        )
        coder = LearnedCoder(codec)
        for file, rgb in samples[:SAMPLES]:
            tracked.log_picture(f"reconstructions/{Path(file).stem}.png", coder.decode(coder.encode(rgb)))

    history = "".join(json.dumps(row) + "\n" for row in state.history)
    write_bytes(layout.history(name), history.encode())
    checkpoint.save(
        codec,
        layout.trained(name),
        variant=name,
        lmbda=state.lmbda if codec.steered else None,
        step=state.step,
        precision=state.precision,
        training=identity,
        data_sha256=data_hash,
        start=start,
        git_commit=git_commit(root),
    )
    state_path.unlink(missing_ok=True)
    console.print(f"train {name}: {state.step} steps in {state.precision}, {layout.trained(name)}")


def _start(variant: Variant, layout: Layout) -> dict[str, Any] | None:
    """The checkpoint that a fine-tuned variant goes on from: whose it is, its hash, where its lambda ended."""
    if not isinstance(variant, FineTuned):
        return None
    path = layout.trained(variant.start)
    return {"variant": variant.start, "sha256": sha256_of(path), "lmbda": checkpoint.read_facts(path)["lmbda"]}


def _begun(name: str, variant: Variant, layout: Layout, start: dict[str, Any] | None) -> tuple[Codec, Training]:
    """The codec with the weights that it starts with, and how it is trained, its lambda from `start` if need be."""
    codec, training = build(variant.codec, variant.hyperparameters), variant.train
    if start is not None and training.lmbda is None:
        training = training.model_copy(update={"lmbda": start["lmbda"]})
    if codec.steered and training.lmbda is None:
        raise RatewrightError(f"train.lmbda of {name} is missing: codec {variant.codec!r} is trained with one")
    remarks = codec.start(published_weights(training.weights, layout.weights))
    if start is not None:
        checkpoint.load_into(codec, layout.trained(start["variant"]))
        remarks = [f"goes on from {start['variant']}"]
    for remark in remarks:
        console.print(f"train {name}: {remark}")
    return codec, training


if __name__ == "__main__":
    stage(run)
