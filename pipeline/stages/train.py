"""The stages `train` and `fine_tune`: a variant trained on its shards, from new weights or from another's checkpoint.

They write models/<name>/trained.safetensors and history.jsonl.
"""

import logging
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.rate.representative_crops import representative_crops
from components.storage.atomic import sha256_of
from components.training.job import RateTarget, TrainingJob
from components.training.results import write_results
from components.training.state import TrainingState
from pipeline.config import params
from pipeline.config.params import FineTuned, Params, Variant
from pipeline.documents.run import Start
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.registry.runs import TRAINING_S, DataInput, Run
from pipeline.stages._data_set import Pictures, data_input, training_input
from pipeline.stages._launcher import Launcher, launcher_of
from pipeline.stages._progress import progress_logger
from pipeline.stages._threads import use_threads
from pipeline.stages._training import fingerprint, weight_files

LOGGED_PICTURES = 2
"""Calibration pictures whose reconstructions MLflow gets."""

logger = logging.getLogger(__name__)

Originals = Sequence[tuple[str, Rgb]]
"""File names and pictures of the calibration set."""


def run(root: Path, name: str) -> None:
    """Train the variant `name` where params.yaml has it trained, or resume a training that was stopped."""
    settings, layout = params.load(root), Layout(root)
    use_threads(settings)
    variant = settings.variant(name)
    start = start_of(variant, layout)
    job = job_of(name, settings, layout, start)
    count = max(LOGGED_PICTURES, job.config.steer_images)
    originals = Pictures(layout.raw(settings.data.calibration), count)
    codec, remarks = job.initial_codec()
    job = with_rate_target(job, name, codec, settings, originals)
    for remark in remarks if start is None else [f"starts from the checkpoint of {start.variant}"]:
        logger.info("%s: %s", job.name, remark)
    launcher = launcher_of(settings, name, layout)
    parameters = {"seed": settings.seed, **variant.model_dump()}
    with Run(root, job.name, job.fingerprint, parameters, _data(root, name, settings, job)) as tracked:
        state = _train(job, launcher, codec, tracked)
        # First what DVC records, and then what MLflow is told: it may have died since.
        _write(root, name, job, codec, state, start)
        _log_result(codec, state, originals, tracked)
    launcher.remove_state(job)
    logger.info("%s: %d steps in %s, %s", job.name, state.step, state.precision, layout.trained(name))


def start_of(variant: Variant, layout: Layout) -> Start | None:
    """The checkpoint that a fine-tuned variant starts from."""
    if not isinstance(variant, FineTuned):
        return None
    path = layout.root / variant.start
    return Start(
        variant=params.trained_variant(variant.start) or variant.start,
        sha256=sha256_of(path),
        lmbda=checkpoint.read_facts(path)["lmbda"],
    )


def job_of(name: str, settings: Params, layout: Layout, start: Start | None) -> TrainingJob:
    """The training, apart from its rate target."""
    variant = settings.variant(name)
    shards = layout.shards(settings.shards_of(name))
    training = variant.train
    if start is not None and training.lmbda is None:
        training = training.model_copy(update={"lmbda": start.lmbda})
    started = None if start is None else start.model_dump()
    data_hash = sha256_of(shards / "index.json")
    parts = (variant.model_dump(), settings.seed, settings.threads, settings.target_bpp, data_hash, started)
    return TrainingJob(
        name=f"train {name}",
        fingerprint=fingerprint(*parts),
        codec=variant.codec,
        hyperparameters=variant.hyperparameters,
        config=training,
        shards=Shards(str(shards)),
        state=str(layout.resumable("train", name) / "state.safetensors"),
        seed=settings.seed,
        weights=weight_files(training.weights, layout.weights),
        start=str(layout.root / variant.start) if isinstance(variant, FineTuned) else None,
        save_every_s=settings.resources_of(name).save_every_s,
    )


def with_rate_target(job: TrainingJob, name: str, codec: Codec, settings: Params, originals: Originals) -> TrainingJob:
    """The job with the rate that lambda is adjusted to, if the codec has a lambda and params.yaml wants that.

    Raises:
        RatewrightError: The codec is trained with a lambda, and params.yaml has none.
    """
    if not codec.has_lambda:
        return job
    if job.config.lmbda is None:
        raise RatewrightError(f"train.lmbda of {name} is missing: codec {job.codec!r} is trained with one")
    if not job.config.steer:
        return job
    represented = [rgb for _, rgb in originals[: job.config.steer_images]]
    crops, scale = representative_crops(represented, settings.target_bpp)
    return replace(job, rate_target=RateTarget(settings.target_bpp, crops, scale))


def _data(root: Path, name: str, settings: Params, job: TrainingJob) -> list[DataInput]:
    """The sets that the training reads: its shards, and the calibration set if that adjusts lambda."""
    trained_on = training_input(settings, name, Path(job.shards.location))
    if job.rate_target is None:
        return [trained_on]
    return [trained_on, data_input(root, settings, settings.data.calibration, "calibration")]


def _train(job: TrainingJob, launcher: Launcher, codec: Codec, tracked: Run) -> TrainingState:
    """Train, leave the best weights in `codec`, and log the validations to MLflow."""
    with progress_logger(job.name, lambda validation: tracked.log_row(validation.model_dump())) as callback:
        state = launcher.train(job, callback)
    codec.load_state_dict(state.best)
    codec.eval()
    return state


def _log_result(codec: Codec, state: TrainingState, originals: Originals, tracked: Run) -> None:
    """Log the training's seconds and reconstructions to MLflow; if it fails, warn and carry on."""
    tracked.log_row({"step": state.step, TRAINING_S: state.elapsed_s})
    tracked.tag("precision", state.precision)
    coder = LearnedCoder(codec)
    decoded = {Path(file).stem: coder.decode(coder.encode(rgb)) for file, rgb in originals[:LOGGED_PICTURES]}
    with tracked.warning("the reconstructions"):
        for name, rgb in decoded.items():
            tracked.log_picture(f"reconstructions/{name}.png", rgb)


def _write(root: Path, name: str, job: TrainingJob, codec: Codec, state: TrainingState, start: Start | None) -> None:
    """Write the history and the checkpoint."""
    layout = Layout(root)
    write_results(codec, state, layout.trained(name), layout.history(name), facts_of(root, name, job, start))


def facts_of(root: Path, name: str, job: TrainingJob, start: Start | None) -> dict[str, Any]:
    """What the metadata of a checkpoint says of its training, apart from its end."""
    return {
        "variant": name,
        "training": job.fingerprint,
        "data_sha256": sha256_of(Path(job.shards.location) / "index.json"),
        "start": None if start is None else start.model_dump(),
        "git_commit": _git_commit(root),
    }


def _git_commit(root: Path) -> str | None:
    """The commit that `root` has checked out; None outside git."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


if __name__ == "__main__":
    stage(run)
