"""The stage `calibrate`: a trained variant brought to the target rate in real bytes on the calibration set.

A lossless codec has no rate to bring anywhere: its checkpoint goes on as it is, with the rate that it has there.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.data.shard_reader import Shards
from components.errors import CalibrationError
from components.rate.gain_search import bpp_of, gain_at, rate_over_gain
from components.rate.searches import Trial, search_lmbda
from components.storage.atomic import write_json
from components.training.job import TrainingJob
from pipeline.config import params
from pipeline.config.params import Params, Variant
from pipeline.entry import console, stage
from pipeline.paths import Layout
from pipeline.stages._data_set import pictures
from pipeline.stages._launcher import launcher_of
from pipeline.stages._training import config_of, fingerprint, progress_logger, published_weights

FINE_TUNE_LEARNING_RATE = 0.1  # of the training's


def run(root: Path, name: str) -> None:
    """Write models/<name>/calibrated.safetensors and calibration.json."""
    settings, layout = params.load(root), Layout(root)
    variant = settings.variant(name)
    calibrate, target = variant.calibrate, settings.target_bpp
    codec, facts = checkpoint.load(layout.trained(name), codec=variant.codec)
    if codec.rate_parameter is None:
        _pass_on(codec, name, facts, settings, layout)
        return
    originals = [rgb for _, rgb in pictures(layout.raw(settings.data.calibration))]

    def measured(phase: str, lmbda: float, bpp: float, steps: int) -> dict[str, Any]:
        gain = codec.gain.item()
        said = f"lambda {lmbda:.5g} {codec.describe(gain)}" if codec.steered else codec.describe(gain)
        console.print(f"calibrate {name}: {phase} {said}: {bpp:.4f} bpp")
        known = lmbda if codec.steered else None
        return {"phase": phase, "lmbda": known, "gain": gain, "bpp": bpp, "steps": steps}

    def rate_now(phase: str, lmbda: float, steps: int) -> Callable[[float], float]:
        rates = rate_over_gain(codec, originals)
        history.append(measured(phase, lmbda, rates(codec.gain.item()), steps))
        return rates

    history: list[dict[str, Any]] = []
    over_gain = rate_now("trained", facts["lmbda"], facts["step"])
    steps = facts["step"]
    # A progressive codec meets any rate as it is, and what lambda does not steer cannot be steered again.
    fixed = codec.progressive or not codec.steered or not _fine_tune_steps(variant, facts)
    rounds = 0 if fixed else calibrate.rounds
    fine_tune = _FineTuner(codec, settings, variant, layout, facts)

    def rate_of(lmbda: float) -> float:
        nonlocal steps, over_gain
        steps += fine_tune(lmbda)
        over_gain = rate_now("fine_tune", lmbda, steps)
        return float(history[-1]["bpp"])

    trials = search_lmbda(
        rate_of,
        Trial(facts["lmbda"], history[0]["bpp"]),
        target,
        raises_rate=codec.rate_parameter.raises_rate,
        rounds=rounds,
        close_enough=calibrate.close_enough,
    )
    lmbda = trials[-1].value

    def tried(trial: Trial) -> None:
        codec.gain.fill_(trial.value)
        history.append(measured("trim", lmbda, trial.bpp, steps))

    try:
        codec.gain.fill_(gain_at(codec, originals, target, calibrate.tolerance, tried, over_gain=over_gain))
    except CalibrationError as error:
        raise CalibrationError(f"calibrate {name} on {settings.data.calibration}: {error}") from error
    final = measured("final", lmbda, over_gain(codec.gain.item()), steps)
    history.append(final)

    facts |= {"lmbda": lmbda, "step": steps, "target_bpp": target, "calibrated_bpp": final["bpp"]}
    _save(codec, layout.calibrated(name), facts)
    write_json(
        layout.calibration(name),
        {
            "name": name,
            "target_bpp": target,
            "tolerance": calibrate.tolerance,
            "calibration_set": settings.data.calibration,
            "rate_parameter": codec.rate_parameter.name,
            "setting": codec.describe(final["gain"]),
            "model_hash": codec.model_hash().hex(),
            **{key: final[key] for key in ("lmbda", "gain", "bpp", "steps")},
            "history": _steering(layout, name) + history,
        },
    )
    fine_tune.forget()
    shutil.rmtree(layout.resumable("calibrate", name), ignore_errors=True)
    console.print(f"calibrate {name}: {final['bpp']:.4f} bpp on {settings.data.calibration}, {layout.calibrated(name)}")


def _pass_on(codec: Codec, name: str, facts: dict[str, Any], settings: Params, layout: Layout) -> None:
    """The outputs of a codec that has no rate parameter: no target, nothing tried."""
    data = settings.data.calibration
    bpp = bpp_of(LearnedCoder(codec), (rgb for _, rgb in pictures(layout.raw(data))))
    _save(codec, layout.calibrated(name), {**facts, "target_bpp": None, "calibrated_bpp": bpp})
    write_json(
        layout.calibration(name),
        {
            "name": name,
            "target_bpp": None,
            "tolerance": None,
            "calibration_set": data,
            "rate_parameter": None,
            "setting": None,
            "model_hash": codec.model_hash().hex(),
            "lmbda": None,
            "gain": None,
            "bpp": bpp,
            "steps": facts["step"],
            "history": [],
        },
    )
    console.print(f"calibrate {name}: lossless, {bpp:.4f} bpp on {data}, {layout.calibrated(name)}")


def _save(codec: Codec, path: Path, facts: dict[str, Any]) -> None:
    own = ("codec", "hyperparameters")  # which a checkpoint writes by itself
    checkpoint.save(codec, path, **{key: value for key, value in facts.items() if key not in own})


def _fine_tune_steps(variant: Variant, facts: dict[str, Any]) -> int:
    """Steps of one fine-tune: all of them together stay within the share that the params allow."""
    return int(variant.calibrate.fine_tune_share * facts["step"] / max(1, variant.calibrate.rounds))


class _FineTuner:
    """Trains a codec on for a while at one lambda after another, wherever its variant is trained."""

    def __init__(self, codec: Codec, settings: Params, variant: Variant, layout: Layout, facts: dict[str, Any]):
        self._codec, self._settings, self._variant, self._layout, self._facts = codec, settings, variant, layout, facts
        self._launcher = launcher_of(settings, facts["variant"], layout)
        self._jobs: list[TrainingJob] = []

    def __call__(self, lmbda: float) -> int:
        """Leaves the codec with the weights that it then has, and returns the steps it took."""
        job = self._job(lmbda, number=len(self._jobs) + 1)
        self._jobs.append(job)
        with progress_logger(job.name, lambda _: None) as callback:
            state = self._launcher.train(job, callback)
        self._codec.load_state_dict(state.best)
        return state.step

    def forget(self) -> None:
        """Remove what a second attempt would go on from."""
        for job in self._jobs:
            self._launcher.forget(job)

    def _job(self, lmbda: float, number: int) -> TrainingJob:
        variant, name, facts, codec = self._variant, self._facts["variant"], self._facts, self._codec
        steps, base = _fine_tune_steps(variant, facts), config_of(variant.train, self._settings.seed)
        work = self._layout.resumable("calibrate", name)
        start = work / f"start-{number}.safetensors"
        checkpoint.save(codec, start)
        loss_networks = {key: file for key, file in variant.train.weights.items() if key in codec.loss_networks}
        return TrainingJob(
            name=f"calibrate {name}",
            fingerprint=fingerprint(facts, lmbda, number, steps),
            codec=variant.codec,
            hyperparameters=variant.hyperparameters,
            config=replace(
                base,
                steps=steps,
                minutes=None,
                lmbda=lmbda,
                learning_rate=FINE_TUNE_LEARNING_RATE * base.learning_rate,
                schedule="cosine",
                validate_every=steps,
                precision=facts["precision"],
                seed=base.seed + number,
            ),
            shards=Shards(str(self._layout.shards(self._settings.shards_of(name)))),
            state=str(work / f"{number}.safetensors"),
            weights=published_weights(loss_networks, self._layout.weights),
            start=str(start),
            save_every_s=self._settings.resources_of(name).save_every_s,
        )


def _steering(layout: Layout, name: str) -> list[dict[str, Any]]:
    """What training tried before: (lambda, bpp) on its fixed part of the calibration set."""
    rows = [json.loads(line) for line in layout.history(name).read_text().splitlines()]
    return [
        {
            "phase": "steer",
            "lmbda": r["lmbda"],
            "gain": 1.0,
            "bpp": r["calibration_bpp"],
            "steps": r["step"],
        }
        for r in rows
        if r["calibration_bpp"] is not None
    ]


if __name__ == "__main__":
    stage(run)
