"""A client of the tests on a Ray cluster: starts a training and prints its progress as JSON lines.

Arguments, as JSON: settings of RayLauncher, of TrainingJob and of TrainingConfig. The codec has the hyper-parameters
of `small_hyperparameters`.
"""

import hashlib
import json
import logging
import sys
from typing import Any

from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.training.callback import Validation
from components.training.config import TrainingConfig
from components.training.job import TrainingJob
from components.training.launchers.ray import RayLauncher
from components.training.resources import Resources
from tests.conftest import small_hyperparameters


class PrintRows:
    def on_step(self, spent: float, step: int, loss: float) -> None:
        pass

    def on_validation(self, validation: Validation) -> None:
        print_line(row=validation.model_dump())


class Remarks(logging.Handler):
    """Prints each log message."""

    def emit(self, record: logging.LogRecord) -> None:
        print_line(remark=record.getMessage())


def print_line(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)  # noqa: T201


def main() -> None:
    launcher, job, config = (json.loads(argument) for argument in sys.argv[1:])
    resources = Resources(**launcher.pop("resources"))
    shards = Shards(job.pop("shards"))
    training = TrainingJob(
        **job,
        hyperparameters=small_hyperparameters(job["codec"]),
        config=TrainingConfig(steps=1, learning_rate=1e-3).model_copy(update=config),
        shards=shards,
    )
    logger = logging.getLogger("components")
    logger.setLevel(logging.INFO)
    logger.addHandler(Remarks())
    try:
        own = RayLauncher(**launcher, resources=resources)
        state = own.train(training, PrintRows())
    except RatewrightError as error:
        print_line(error=str(error), kind=type(error).__name__)
        return
    digest = hashlib.sha256()
    for name, value in sorted(state.best.items()):
        digest.update(name.encode() + value.numpy().tobytes())
    print_line(step=state.step, history=[row.model_dump() for row in state.history], weights=digest.hexdigest())
    own.remove_state(training)


if __name__ == "__main__":
    main()
