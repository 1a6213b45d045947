"""A process that is one rank of several: it trains codecs in turn, and rank 0 prints its steps as JSON lines.

Arguments: a folder of shards, a folder for states, and as JSON a list of [fields of TrainingConfig, names of codecs].
"""

import json
import sys
from pathlib import Path

import torch

from components.data.shard_reader import Shards
from components.training.callback import Validation
from components.training.config import TrainingConfig
from components.training.interrupt import Interrupted
from components.training.job import TrainingJob
from tests.conftest import small_hyperparameters


class StepPrinter:
    def __init__(self, name: str):
        self.name = name

    def on_step(self, spent: float, step: int, loss: float) -> None:  # noqa: ARG002
        print(json.dumps({"codec": self.name, "step": step, "loss": loss}), flush=True)  # noqa: T201

    def on_validation(self, validation: Validation) -> None:
        pass


def job_of(name: str, shards: Path, states: Path, config: TrainingConfig, save_every_s: float = 60.0) -> TrainingJob:
    """The training of a small codec, with its state in the folder `states`."""
    state = str(states / f"{name}.safetensors")
    hyperparameters = small_hyperparameters(name)
    return TrainingJob(
        name, "f", name, hyperparameters, config, Shards(str(shards)), state, seed=3, save_every_s=save_every_s
    )


def main() -> None:
    shards, states, tasks = sys.argv[1:]
    torch.set_num_threads(1)
    for number, (fields, names) in enumerate(json.loads(tasks)):
        for name in names:
            job = job_of(name, Path(shards), Path(states) / str(number), TrainingConfig(**fields))
            try:
                job.train(StepPrinter(name))
            except Interrupted as error:
                print(json.dumps({"codec": name, "interrupted": str(error)}), flush=True)  # noqa: T201
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # its threads must not outlive it


if __name__ == "__main__":
    main()
