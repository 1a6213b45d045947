"""A portable training where it runs: train for some minutes, measure the speed, leave the weights to bring back."""

import json
import logging
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from components.codecs.base import Codec
from components.errors import RatewrightError
from components.training.callback import Validation
from components.training.interrupt import Interrupted
from components.training.job import TrainingJob
from components.training.precision import Precision
from components.training.results import write_results
from components.training.speed import Speed, SpeedMeter
from components.training.state import TrainingState
from components.training.utilisation import peak, step_flop
from pipeline.portable.contents import HISTORY, TRAINED, TRAINED_ON, PortableTraining

MOST_WORKERS = 8
"""Loader processes beside a GPU, where the command line names no number."""

_ABOUT = """Train for some minutes, and leave trained.safetensors and history.jsonl in a folder.

The state is saved every minute: after a kill, the same command goes on from there. SIGTERM and Ctrl-C save it at once,
and leave the best weights so far in the folder. More --minutes go on with a training that is finished."""

logger = logging.getLogger("pipeline")


class _Log:
    """A training callback that logs validations, and the speed together with how far training is."""

    def __init__(self, flop_per_px: float, peak_tflops: float):
        """Set up.

        Args:
            flop_per_px: Operations of a step per pixel of its batch.
            peak_tflops: Of the device.
        """
        self._share_of_peak = flop_per_px / (1e12 * peak_tflops)
        self._progress = ""

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Remember how far training is."""
        self._progress = f"{spent:.1%}, step {step}, loss {loss:.4f}"

    def on_validation(self, validation: Validation) -> None:
        """Log the validation."""
        logger.info("%s", validation)

    def speed(self, speed: Speed) -> None:
        """Log the speed of the last minute."""
        figures = (
            f"{speed.images_per_s:.4g} images/s",
            f"{speed.waiting:.1%} of the steps' time waiting for data",
            f"{speed.px_per_s * self._share_of_peak:.1%} of the peak",
            f"{speed.validating:.1%} of all time in validations",
        )
        logger.info("%s: %s", self._progress, ", ".join(figures))


def main(folder: Path, work: Path, arguments: list[str]) -> NoReturn:
    """Train, and exit with 0, or with 2 and one line for an error.

    Args:
        folder: Where the file is unpacked.
        work: Where the training state is kept.
        arguments: Of the command line.
    """
    training = PortableTraining.read(folder)
    options = _options(training, arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        _log_to(options.out / "train.log")
        device = _device(options.device)
        job = training.job(folder, _changes(options, device), work / "state.safetensors")
        _train(training, replace(job, save_every_s=options.every), device, options)
    except (RatewrightError, OSError) as error:
        logger.error("error: %s", error)
        raise SystemExit(2) from None
    raise SystemExit(0)


def _options(training: PortableTraining, arguments: list[str]) -> Namespace:
    parser = ArgumentParser(f"{training.name}.pyz", description=_ABOUT, formatter_class=RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--minutes", type=float, default=25.0, help="of training, over all runs of the command together")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--out", type=Path, default=Path(f"{training.name}-trained"), help="the folder to bring back")
    add("--work", type=Path, help="the folder for what is unpacked and the state; by default beside the file")
    add("--every", type=float, default=60.0, help="seconds between two saves of the state, and two lines on the speed")
    fields = "batch_size=32, validate_every=2000 or workers=4"
    add("-S", dest="settings", action="append", default=[], metavar="FIELD=VALUE", help=f"of the training: {fields}")
    return parser.parse_args(arguments)


def _log_to(file: Path) -> None:
    """Show messages of the project, and add them to a file."""
    for name in ("pipeline", "components"):
        project = logging.getLogger(name)
        project.setLevel(logging.INFO)
        project.handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(file)]


def _device(name: str) -> torch.device:
    """The device to train on. Raises RatewrightError where there is none of this name."""
    if name == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the loop takes a GPU where it sees one
    elif not torch.cuda.is_available():
        raise RatewrightError("no CUDA device here; --device cpu trains on the processor")
    return torch.device(name)


def _changes(options: Namespace, device: torch.device) -> dict[str, Any]:
    """The fields of the training that differ from the profile."""
    changes: dict[str, Any] = {"steps": None, "minutes": options.minutes}
    if device.type == "cuda":
        changes["workers"] = min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))
    for setting in options.settings:
        key, _, text = setting.partition("=")
        try:
            changes[key] = json.loads(text)
        except ValueError:
            changes[key] = text
    return changes


def _train(training: PortableTraining, job: TrainingJob, device: torch.device, options: Namespace) -> None:
    """Train to the end of the budget, and write the results; those so far where the training is stopped."""
    codec, _ = job.initial_codec()
    log = _log_of(codec, job, device)
    meter = SpeedMeter(log, log.speed, options.every)
    trained_on = {
        "device": _device_name(device),
        "torch": str(torch.__version__),
        "patches": len(job.shards.patches("train")),
        "quality": training.quality,
        "config": job.config.model_dump(),
    }

    def write(state: TrainingState) -> None:
        if not state.best:
            logger.warning("no validation so far, and so no weights to bring back")
            return
        codec.load_state_dict(state.best)
        facts = {**training.facts, TRAINED_ON: {**trained_on, "minutes": round(state.elapsed_s / 60, 4)}}
        write_results(codec, state, options.out / TRAINED, options.out / HISTORY, facts)
        logger.info("%d steps in %.2f minutes: %s", state.step, state.elapsed_s / 60, options.out.resolve())

    try:
        state = job.train(meter, wrap_batches=meter.timed)
    except Interrupted:
        write(TrainingState.load(job.state, job.fingerprint))
        raise
    write(state)


def _log_of(codec: Codec, job: TrainingJob, device: torch.device) -> _Log:
    """The log of a training. Its first line says what the share of the peak is measured against."""
    precision: Precision = "32-true" if job.config.precision == "32-true" else "bf16-mixed"
    side = job.shards.patches("train").side
    x = torch.rand(1, 3, side, side, device=device)
    flop = step_flop(codec.to(device), x, job.config.lmbda or 1.0)
    codec.cpu()
    most = peak(device, precision)
    logger.info(
        "%s: %s, %d patches of %d pixels a side in batches of %d, %.3g GFLOP for each, peak %.4g TFLOP/s (%s, %s)",
        job.name,
        _device_name(device),
        len(job.shards.patches("train")),
        side,
        job.config.batch_size,
        flop / 1e9,
        most.tflops,
        most.source,
        precision,
    )
    return _Log(flop / side**2, most.tflops)


def _device_name(device: torch.device) -> str:
    """Name of the GPU, or the processor's cores."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
