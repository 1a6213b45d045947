"""`make take-gpu`: take the weights of a portable training into this checkout, as the output of the stage `train`.

DVC records them as it would those that the stage gives: `dvc repro` goes on with `calibrate`. The checkpoint's metadata
says under `trained_on` which device trained it, for how many minutes, and on how many patches.
"""

import logging
import subprocess
import sys
from pathlib import Path

from components.codecs import checkpoint
from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from components.training.callback import Validation
from pipeline.config import params
from pipeline.documents import read_lines
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.portable.contents import HISTORY, TRAINED, TRAINED_ON, portable_fingerprint
from pipeline.stages.train import job_of, start_of

logger = logging.getLogger(__name__)


def take(root: Path, name: str | None = None) -> None:
    """Check the folder `name` that a portable training left, copy its files into the checkout, and tell DVC.

    Raises:
        RatewrightError: The folder is not one of a portable training, or the training was packed with other
            parameters or shards than the checkout has; or DVC refuses.
    """
    if name is None:
        raise RatewrightError("which folder did the training leave? make take-gpu ARGS=FOLDER")
    folder = Path(name)
    _, facts = checkpoint.load(folder / TRAINED)
    history = read_lines(Validation, folder / HISTORY)
    if TRAINED_ON not in facts:
        raise RatewrightError(f"{folder / TRAINED}: not from a portable training, see `make train-gpu`")
    settings, layout, variant = params.load(root), Layout(root), facts["variant"]
    job = job_of(variant, settings, layout, start_of(settings.variant(variant), layout))
    if facts["training"] != portable_fingerprint(job.fingerprint):
        raise RatewrightError(
            f"{folder / TRAINED}: packed with other parameters of {variant}, target, seed or shards than this checkout "
            "has now; `ratewright use` writes a profile"
        )
    write_bytes(layout.history(variant), (folder / HISTORY).read_bytes())
    write_bytes(layout.trained(variant), (folder / TRAINED).read_bytes())
    stage_name = f"{'fine_tune' if variant in settings.fine_tuned else 'train'}@{variant}"
    command = [sys.executable, "-m", "dvc", "commit", "--quiet", "--force", stage_name]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RatewrightError(f"dvc commit {stage_name}: {' '.join(done.stderr.split())}")
    on = facts[TRAINED_ON]
    logger.info(
        "%s: %d steps in %.1f minutes on %s, %d validations",
        layout.trained(variant),
        facts["step"],
        on["minutes"],
        on["device"],
        len(history),
    )
    logger.info("dvc.lock has it as the output of %s; `dvc repro calibrate` goes on", stage_name)


if __name__ == "__main__":
    stage(take)
