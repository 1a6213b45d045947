"""The stage `calibrate`: a trained variant brought to the target rate in real bytes on the calibration set.

A lossless codec has no rate to choose: its checkpoint is passed on, with the rate that it has on the set.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.errors import CalibrationError
from components.rate.calibrator import Calibrator, RateTrial
from components.rate.real_rate import bpp_of
from components.storage.atomic import sha256_of
from components.training.callback import Validation
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.documents import Calibration, read_lines, write
from pipeline.documents.calibration import CalibrationTrial
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.registry.runs import Run
from pipeline.stages._data_set import Pictures, data_input
from pipeline.stages._fine_tuning import FineTuner
from pipeline.stages._threads import use_threads
from pipeline.stages._training import fingerprint

logger = logging.getLogger(__name__)


def run(root: Path, name: str) -> None:
    """Write models/<name>/calibrated.safetensors and calibration.json."""
    settings, layout = params.load(root), Layout(root)
    use_threads(settings)
    codec, facts = checkpoint.load(layout.trained(name), codec=settings.variant(name).codec)
    data = data_input(root, settings, settings.data.calibration, "calibration")
    parameters = {"target_bpp": settings.target_bpp, "calibrate": settings.variant(name).calibrate.model_dump()}
    identity = fingerprint("calibrate", sha256_of(layout.trained(name)), data.sha256, parameters)
    with Run(root, f"calibrate {name}", identity, parameters, [data]) as tracked:
        found = _calibrated(name, codec, facts, settings, layout)
        for number, trial in enumerate(found.history):
            tracked.log_row({"step": number, "lmbda": trial.lmbda, "gain": trial.gain, "bpp": trial.bpp})
        tracked.log_row({"step": len(found.history), "lmbda": found.lmbda, "gain": found.gain, "bpp": found.bpp})
    kind = "lossless, " if found.rate_parameter is None else ""
    logger.info("calibrate %s: %s%.4f bpp on %s, %s", name, kind, found.bpp, data.name, layout.calibrated(name))


def _calibrated(name: str, codec: Codec, facts: dict[str, Any], settings: Params, layout: Layout) -> Calibration:
    """Calibrate a trained codec, and write the checkpoint and the calibration."""
    originals = Pictures(layout.raw(settings.data.calibration)).rgbs
    if codec.rate_parameter is None:
        found = _lossless(name, codec, originals, settings.data.calibration, facts["step"])
        _save(codec, found, facts, layout)
        return found
    fine_tuner = FineTuner(codec, settings, layout, facts)
    calibrator = _calibrate(name, codec, originals, fine_tuner, settings, facts)
    found = _lossy(name, calibrator, settings, _rates_while_training(layout, name))
    _save(codec, found, {**facts, "lmbda": calibrator.lmbda, "step": calibrator.steps}, layout)
    fine_tuner.forget()
    shutil.rmtree(layout.resumable("calibrate", name), ignore_errors=True)
    return found


def _calibrate(
    name: str,
    codec: Codec,
    originals: Sequence[Rgb],
    fine_tuner: FineTuner,
    settings: Params,
    facts: dict[str, Any],
) -> Calibrator:
    """Search lambda, where that is possible, then the gain. Raises CalibrationError if no gain meets the target."""
    variant, target = settings.variant(name), settings.target_bpp
    how = variant.calibrate

    def log(trial: RateTrial) -> None:
        setting = codec.describe(trial.gain)
        if trial.lmbda is not None:
            setting = f"lambda {trial.lmbda:.5g} {setting}"
        logger.info("calibrate %s: %s, %s: %.4f bpp", name, trial.phase.replace("_", " "), setting, trial.bpp)

    calibrator = Calibrator(codec, originals, facts["lmbda"], facts["step"], log)
    # A progressive codec meets any rate as it is; a codec that lambda does not move is not fine-tuned for its rate.
    moves = codec.has_lambda and variant.train.quantisation == "soft"
    if moves and not codec.progressive and fine_tuner.steps:
        calibrator.search_lambda(target, fine_tuner, rounds=how.rounds, close_enough=how.close_enough)
    try:
        calibrator.search_gain(target, how.tolerance)
    except CalibrationError as error:
        raise CalibrationError(f"calibrate {name} on {settings.data.calibration}: {error}") from error
    return calibrator


def _lossy(name: str, calibrator: Calibrator, settings: Params, before: Sequence[CalibrationTrial]) -> Calibration:
    """The calibration of a codec with a rate; `before` are the trials of its training."""
    codec, final = calibrator.codec, calibrator.history[-1]
    assert codec.rate_parameter is not None
    return Calibration(
        name=name,
        target_bpp=settings.target_bpp,
        tolerance=settings.variant(name).calibrate.tolerance,
        calibration_set=settings.data.calibration,
        rate_parameter=codec.rate_parameter.name,
        setting=codec.describe(final.gain),
        model_hash=codec.model_hash().hex(),
        lmbda=final.lmbda,
        gain=final.gain,
        bpp=final.bpp,
        steps=final.steps,
        history=(*before, *(CalibrationTrial(**asdict(trial)) for trial in calibrator.history)),
    )


def _lossless(name: str, codec: Codec, originals: Sequence[Rgb], data: str, steps: int) -> Calibration:
    """The calibration of a codec without a rate parameter: no target, no trials."""
    return Calibration(
        name=name,
        target_bpp=None,
        tolerance=None,
        calibration_set=data,
        rate_parameter=None,
        setting=None,
        model_hash=codec.model_hash().hex(),
        lmbda=None,
        gain=None,
        bpp=bpp_of(LearnedCoder(codec), originals),
        steps=steps,
        history=(),
    )


def _rates_while_training(layout: Layout, name: str) -> list[CalibrationTrial]:
    """The rates that training measured on its part of the calibration set."""
    return [
        CalibrationTrial(phase="training", lmbda=row.lmbda, gain=1.0, bpp=row.calibration_bpp, steps=row.step)
        for row in read_lines(Validation, layout.history(name))
        if row.calibration_bpp is not None
    ]


def _save(codec: Codec, calibration: Calibration, facts: dict[str, Any], layout: Layout) -> None:
    """Write the checkpoint with the facts of the trained one and the rate, then calibration.json."""
    name = calibration.name
    own = ("codec", "hyperparameters")  # which a checkpoint writes by itself
    facts = {key: value for key, value in facts.items() if key not in own}
    rates = {"target_bpp": calibration.target_bpp, "calibrated_bpp": calibration.bpp}
    checkpoint.save(codec, layout.calibrated(name), **facts, **rates)
    write(calibration, layout.calibration(name))


if __name__ == "__main__":
    stage(run)
