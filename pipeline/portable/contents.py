"""What a portable training holds: one file from which a machine without a checkout trains a variant.

The file is a zip that Python runs:

    __main__.py          pipeline.portable.unpack
    components/ pipeline/    the modules that the training needs
    training.json        the training, as `PortableTraining`
    shards/              training and validation patches
    crops/               pictures on which the rate is measured, lossless
    start.safetensors    the checkpoint that a fine-tuned variant starts from
    requirements.txt     packages that the modules import, at the versions of the checkout
    wheels/              some of these packages, for a machine without network
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.arrays import Rgb
from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.settings import Settings, faults
from components.training.config import TrainingConfig
from components.training.job import RateTarget, TrainingJob

TRAINING, SHARDS, CROPS, START = "training.json", "shards", "crops", "start.safetensors"
REQUIREMENTS, WHEELS = "requirements.txt", "wheels"
TRAINED, HISTORY = "trained.safetensors", "history.jsonl"
"""The files of a finished training."""
TRAINED_ON = "trained_on"
"""Key in a checkpoint's metadata: the device that a portable training ran on, and what it was given."""

_FREE = {"minutes", "steps", "validate_every", "validation_patches", "workers"}
"""Fields of the training that may change when it resumes."""


class PortableTraining(Settings):
    """training.json: a variant's training, and where it comes from."""

    name: str
    """The variant."""
    codec: str
    """Name of the codec in the table of codecs."""
    hyperparameters: dict[str, Any]
    """Arguments of the codec."""
    config: TrainingConfig
    """How the stage `train` would train it."""
    seed: int
    """Of the initial weights, the sample order and the noise."""
    facts: dict[str, Any]
    """What the checkpoint's metadata says of the training, apart from its end."""
    fine_tuned: bool
    """Whether the training starts from the checkpoint in the file."""
    target_bpp: float | None
    """Rate in bits per pixel that lambda is adjusted to; null keeps lambda."""
    crops_scale: float
    """Factor from the rate of the crops to the rate of the pictures that they represent."""
    quality: int | None
    """Of the JPEG files that training patches are; null for lossless ones."""

    @classmethod
    def read(cls, folder: Path) -> "PortableTraining":
        """The training of an unpacked file."""
        return cls.model_validate_json((folder / TRAINING).read_bytes())

    def job(self, folder: Path, changes: dict[str, Any], state: Path) -> TrainingJob:
        """The training with other values of some fields of its config.

        Args:
            folder: Where the file is unpacked.
            changes: Field -> value.
            state: Path of the training state. A state that other values gave is resumed where they leave its steps as
                they are: budget, loader processes and validations.

        Raises:
            RatewrightError: A field is unknown, or a value is wrong.
        """
        try:
            config = TrainingConfig.model_validate({**self.config.model_dump(), **changes})
        except ValidationError as error:
            raise RatewrightError(f"-S: {faults(error)}") from error
        identity = [self.facts["training"], config.model_dump(exclude=_FREE)]
        return TrainingJob(
            name=f"train {self.name}",
            fingerprint=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
            codec=self.codec,
            hyperparameters=self.hyperparameters,
            config=config,
            shards=Shards(str(folder / SHARDS)),
            state=str(state),
            seed=self.seed,
            start=str(folder / START) if self.fine_tuned else None,
            rate_target=self._rate_target(folder),
        )

    def _rate_target(self, folder: Path) -> RateTarget | None:
        if self.target_bpp is None:
            return None
        crops = tuple(_read(path) for path in sorted((folder / CROPS).iterdir()))
        return RateTarget(self.target_bpp, crops, self.crops_scale)


def _read(path: Path) -> Rgb:
    """A picture, by the library that decodes the patches too."""
    import cv2

    rgb: Rgb | None = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if rgb is None:
        raise RatewrightError(f"{path}: cannot be decoded")
    return rgb


def portable_fingerprint(fingerprint: str) -> str:
    """The fingerprint of a portable training, from that of the training of its stage, which gives other weights."""
    return hashlib.sha256(f"portable {fingerprint}".encode()).hexdigest()
