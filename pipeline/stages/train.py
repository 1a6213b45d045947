"""The stage `train`: a variant trained on the shards into models/<name>/trained.safetensors and history.jsonl."""

import json
from pathlib import Path

import torch

from components.codecs.table import build
from components.errors import RatewrightError
from components.evaluation import LearnedCoder
from components.files import sha256_of, write_bytes
from components.training import checkpoint
from components.training.loop import train
from components.training.rate_control import RateControl
from pipeline import params, tracking
from pipeline.console import console
from pipeline.entry import stage
from pipeline.layout import Layout
from pipeline.pictures import pictures
from pipeline.provenance import git_commit
from pipeline.training import config_of, fingerprint, narrated, published_weights, rate_on

SAMPLES = 2  # calibration pictures whose reconstructions the run shows


def run(root: Path, name: str) -> None:
    """Train the variant `name`, or go on with a training that was stopped."""
    settings, layout = params.load(root), Layout(root)
    variant = settings.variant(name)
    shards, calibration = layout.shards(settings.data.train), layout.raw(settings.data.calibration)
    data_hash = sha256_of(shards / "index.json")
    state_path = layout.resumable("train", name) / "state.safetensors"
    identity = fingerprint(variant.model_dump(), settings.seed, settings.target_bpp, data_hash)

    torch.manual_seed(settings.seed)
    codec = build(variant.codec, variant.hyperparameters)
    if codec.steered and variant.train.lmbda is None:
        raise RatewrightError(f"variants.{name}.train.lmbda is missing: codec {variant.codec!r} is trained with one")
    for remark in codec.start(published_weights(variant.train.weights, layout.weights)):
        console.print(f"train {name}: {remark}")
    control, rate_of = None, None
    samples = [(file, rgb) for file, rgb in pictures(calibration, max(SAMPLES, variant.train.steer_images))]
    config = config_of(variant.train, settings.seed)
    if variant.train.steer and codec.knob is not None and codec.steered:
        control = RateControl(settings.target_bpp, config.lmbda, codec.knob.raises_rate)
        rate_of = rate_on([rgb for _, rgb in samples[: variant.train.steer_images]])

    with (
        tracking.Run(root, f"train {name}", identity, {"seed": settings.seed, **variant.model_dump()}) as tracked,
        narrated(f"train {name}", tracked.log_row) as narrator,
    ):
        state = train(
            codec,
            shards,
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
        git_commit=git_commit(root),
    )
    state_path.unlink(missing_ok=True)
    console.print(f"train {name}: {state.step} steps in {state.precision}, {layout.trained(name)}")


if __name__ == "__main__":
    stage(run)
