"""Fine-tunes of a trained codec at other lambdas, which the stage `calibrate` asks for."""

from pathlib import Path
from typing import Any

from components.codecs import checkpoint
from components.codecs.base import Codec
from components.data.shard_reader import Shards
from components.training.config import TrainingConfig
from components.training.job import TrainingJob
from pipeline.config.params import Params
from pipeline.paths import Layout
from pipeline.registry.runs import DataInput, Run
from pipeline.stages._data_set import training_input
from pipeline.stages._launcher import launcher_of
from pipeline.stages._progress import progress_logger
from pipeline.stages._training import fingerprint, weight_files

LEARNING_RATE = 0.1
"""Learning rate of a fine-tune over that of the training."""


class FineTuner:
    """Trains a codec on at one lambda after another, where params.yaml has its variant trained.

    Attributes:
        steps: Steps of one fine-tune: all of them together stay within the share that params.yaml allows.
    """

    def __init__(self, codec: Codec, settings: Params, layout: Layout, facts: dict[str, Any]):
        """Prepare; nothing is trained yet.

        Args:
            codec: The trained codec, which fine-tunes change.
            settings: The params.
            layout: The checkout.
            facts: Metadata of the trained checkpoint.
        """
        self._codec, self._settings, self._layout, self._facts = codec, settings, layout, facts
        self._name: str = facts["variant"]
        self._variant = settings.variant(self._name)
        self._launcher = launcher_of(settings, self._name, layout)
        self._jobs: list[TrainingJob] = []
        how = self._variant.calibrate
        self.steps = int(how.fine_tune_share * facts["step"] / max(1, how.rounds))

    def __call__(self, lmbda: float) -> int:
        """Train at `lmbda`, leave the codec with the weights that this gives, and return the steps that it took."""
        job = self._job(lmbda, number=len(self._jobs) + 1)
        self._jobs.append(job)
        run_name, (parameters, data) = f"fine-tune {self._name} {len(self._jobs)}", self._inputs(job)
        with (
            Run(self._layout.root, run_name, job.fingerprint, parameters, data) as run,
            progress_logger(job.name, lambda validation: run.log_row(validation.model_dump())) as callback,
        ):
            state = self._launcher.train(job, callback)
            run.tag("precision", state.precision)
        self._codec.load_state_dict(state.best)
        return state.step

    def forget(self) -> None:
        """Remove the states of the fine-tunes: their result is safe, and nothing is to be resumed."""
        for job in self._jobs:
            self._launcher.remove_state(job)

    def _inputs(self, job: TrainingJob) -> tuple[dict[str, Any], list[DataInput]]:
        """Parameters and data of the MLflow run of a fine-tune."""
        parameters = {"seed": job.seed, "codec": job.codec, "train": job.config.model_dump()}
        return parameters, [training_input(self._settings, self._name, Path(job.shards.location))]

    def _job(self, lmbda: float, number: int) -> TrainingJob:
        work = self._layout.resumable("calibrate", self._name)
        return TrainingJob(
            name=f"calibrate {self._name}",
            fingerprint=fingerprint(self._facts, lmbda, number, self.steps),
            codec=self._variant.codec,
            hyperparameters=self._variant.hyperparameters,
            config=self._config(lmbda),
            shards=Shards(str(self._layout.shards(self._settings.shards_of(self._name)))),
            state=str(work / f"{number}.safetensors"),
            seed=self._settings.seed + number,
            weights=self._weights(),
            start=str(self._start(work / f"start-{number}.safetensors")),
            save_every_s=self._settings.resources_of(self._name).save_every_s,
        )

    def _config(self, lmbda: float) -> TrainingConfig:
        base = self._variant.train
        changes = {
            "steps": self.steps,
            "minutes": None,
            "lmbda": lmbda,
            "learning_rate": LEARNING_RATE * base.learning_rate,
            "schedule": "cosine",
            "validate_every": self.steps,
            "precision": self._facts["precision"],
        }
        return base.model_copy(update=changes)

    def _weights(self) -> dict[str, str]:
        """Files of the published networks that the loss needs; those inside the codec are trained already."""
        weights = self._variant.train.weights
        needed = {key: file for key, file in weights.items() if key in self._codec.loss_networks}
        return weight_files(needed, self._layout.weights)

    def _start(self, path: Path) -> Path:
        """Write the codec as it is now, for the training to start from."""
        checkpoint.save(self._codec, path)
        return path
