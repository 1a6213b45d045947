"""The stages `train` and `fine_tune`: a variant trained on its shards, from the start or from another's checkpoint.

They write models/<name>/trained.safetensors and history.jsonl.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.codecs import checkpoint
from components.codecs.coder import LearnedCoder
from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.storage.atomic import sha256_of, write_bytes
from components.training.job import TrainingJob
from pipeline.config import params
from pipeline.config.params import FineTuned, Variant
from pipeline.entry import console, stage
from pipeline.paths import Layout
from pipeline.registry.runs import TRAINING_S, Run
from pipeline.stages._data_set import pictures
from pipeline.stages._launcher import launcher_of
from pipeline.stages._training import (
    fingerprint,
    git_commit,
    progress_logger,
    published_weights,
    rate_target_for,
)

SAMPLES = 2  # calibration pictures whose reconstructions the run shows


def run(root: Path, name: str) -> None:
    """Train the variant `name`, or go on with a training that was stopped, wherever params.yaml has it run."""
    settings, layout = params.load(root), Layout(root)
    variant = settings.variant(name)
    shards = layout.shards(settings.shards_of(name))
    data_hash = sha256_of(shards / "index.json")
    start = _start(variant, layout)
    identity = fingerprint(variant.model_dump(), settings.seed, settings.target_bpp, data_hash, start)
    training = variant.train
    if start is not None and training.lmbda is None:
        training = training.model_copy(update={"lmbda": start["lmbda"]})
    samples = list(pictures(layout.raw(settings.data.calibration), max(SAMPLES, training.steer_images)))
    job = TrainingJob(
        name=f"train {name}",
        fingerprint=identity,
        codec=variant.codec,
        hyperparameters=variant.hyperparameters,
        config=training,
        shards=Shards(str(shards)),
        state=str(layout.resumable("train", name) / "state.safetensors"),
        seed=settings.seed,
        weights=published_weights(training.weights, layout.weights),
        start=None if start is None else str(layout.trained(start["variant"])),
        save_every_s=settings.resources_of(name).save_every_s,
    )
    codec, remarks = job.initial_codec()
    if training.steer and codec.has_lambda:
        rate_target = rate_target_for(settings.target_bpp, [rgb for _, rgb in samples[: training.steer_images]])
        job = replace(job, rate_target=rate_target)
    if codec.has_lambda and training.lmbda is None:
        raise RatewrightError(f"train.lmbda of {name} is missing: codec {variant.codec!r} is trained with one")
    for remark in remarks if start is None else [f"goes on from {start['variant']}"]:
        console.print(f"{job.name}: {remark}")
    launcher = launcher_of(settings, name, layout)
    with (
        Run(root, job.name, identity, {"seed": settings.seed, **variant.model_dump()}) as tracked,
        progress_logger(job.name, lambda row: tracked.log_row(row.model_dump())) as callback,
    ):
        state = launcher.train(job, callback)
        tracked.log_row({"step": state.step, TRAINING_S: state.elapsed_s})
        codec.load_state_dict(state.best)
        coder = LearnedCoder(codec.eval())
        for file, rgb in samples[:SAMPLES]:
            tracked.log_picture(f"reconstructions/{Path(file).stem}.png", coder.decode(coder.encode(rgb)))

    history = "".join(json.dumps(row.model_dump()) + "\n" for row in state.history)
    write_bytes(layout.history(name), history.encode())
    checkpoint.save(
        codec,
        layout.trained(name),
        variant=name,
        lmbda=state.lmbda if codec.has_lambda else None,
        step=state.step,
        precision=state.precision,
        training=identity,
        data_sha256=data_hash,
        start=start,
        git_commit=git_commit(root),
    )
    launcher.remove_state(job)
    console.print(f"{job.name}: {state.step} steps in {state.precision}, {layout.trained(name)}")


def _start(variant: Variant, layout: Layout) -> dict[str, Any] | None:
    """The checkpoint that a fine-tuned variant goes on from: whose it is, its hash, where its lambda ended."""
    if not isinstance(variant, FineTuned):
        return None
    path = layout.trained(variant.start)
    return {"variant": variant.start, "sha256": sha256_of(path), "lmbda": checkpoint.read_facts(path)["lmbda"]}


if __name__ == "__main__":
    stage(run)
