"""The files of a finished training: the checkpoint with the best weights, and the history of validations."""

import json
from pathlib import Path
from typing import Any

from ..codecs import checkpoint
from ..codecs.base import Codec
from ..storage.atomic import write_bytes
from .state import TrainingState


def write_results(codec: Codec, state: TrainingState, trained: Path, history: Path, facts: dict[str, Any]) -> None:
    """Write both files, each atomically.

    Args:
        codec: with the weights to write.
        state: the state at the end, which gives lambda, steps, precision and history.
        trained: path of the checkpoint.
        history: path of the history, a JSON row for each validation.
        facts: what else the checkpoint's metadata says of the training.
    """
    rows = "".join(json.dumps(validation.model_dump()) + "\n" for validation in state.history)
    write_bytes(history, rows.encode())
    own = {
        "lmbda": state.lmbda if codec.has_lambda else None,
        "step": state.step,
        "precision": state.precision,
    }
    checkpoint.save(codec, trained, **{**own, **facts})
