"""Checkpoints: one safetensors file with the weights and, in its metadata, what they are. Never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.codecs.base import Codec
from components.codecs.table import build
from components.errors import CheckpointError, RatewrightError, one_line
from components.storage.tensors import save_tensors


def save(codec: Codec, path: Path, **facts: Any) -> None:
    """Write weights, codec name, hyper-parameters and `facts` (lmbda, step, data hash, git commit …), atomically.

    Raises RatewrightError where that is not possible.
    """
    described = {"codec": codec.name, "hyperparameters": codec.hyperparameters, **facts}
    save_tensors(codec.state_dict(), path, {key: json.dumps(value) for key, value in described.items()})


def read_facts(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint. Raises CheckpointError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({error})") from error
    if "codec" not in metadata or "hyperparameters" not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not a Ratewright checkpoint")
    try:
        return {key: json.loads(value) for key, value in metadata.items()}
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata is not JSON ({error})") from error


def load(path: Path, *, codec: str | None = None) -> tuple[Codec, dict[str, Any]]:
    """The codec of a checkpoint, on the CPU in evaluation mode, and its facts.

    Raises CheckpointError: unreadable, of another codec than `codec` where one is named, or of another shape.
    """
    facts = read_facts(path)
    if codec is not None and facts["codec"] != codec:
        raise CheckpointError(f"{path}: a checkpoint of codec {facts['codec']!r}, not {codec!r}")
    try:
        built = build(facts["codec"], facts["hyperparameters"])
    except RatewrightError as error:
        raise CheckpointError(f"{path}: {error}") from error
    load_into(built, path)
    return built.eval(), facts


def load_into(codec: Codec, path: Path) -> None:
    """Copy the weights of a checkpoint into `codec`, whose own it may be or another's of the same shapes.

    Raises CheckpointError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        codec.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({one_line(error)})") from error
    except RuntimeError as error:
        reason = one_line(error)[:200]
        raise CheckpointError(f"{path}: the weights do not fit codec {codec.name!r}: {reason}") from error
