"""Checkpoints: one safetensors file with a codec's weights, its hyper-parameters and facts about its training."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, RatewrightError, one_line
from ..storage.tensors import save_tensors
from .base import Codec
from .table import build


def save(codec: Codec, path: Path, **facts: Any) -> None:
    """Write a checkpoint, atomically.

    Args:
        codec: its weights, name and hyper-parameters are written.
        path: of the file.
        facts: further metadata, such as lambda, step, data hash and git commit; values that JSON can hold.

    Raises:
        RatewrightError: the file cannot be written.
    """
    described = {"codec": codec.name, "hyperparameters": codec.hyperparameters, **facts}
    save_tensors(codec.state_dict(), path, {key: json.dumps(value) for key, value in described.items()})


def read_facts(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint: codec, hyper-parameters and facts. Raises CheckpointError."""
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
    """Build the codec of a checkpoint and load its weights.

    Args:
        path: of the file.
        codec: name that the codec must have; None for any.

    Returns:
        The codec on the CPU, in evaluation mode, and the checkpoint's metadata.

    Raises:
        CheckpointError: the file is not a readable checkpoint, is of another codec, or its weights do not fit.
    """
    facts = read_facts(path)
    if codec is not None and facts["codec"] != codec:
        raise CheckpointError(f"{path}: a checkpoint of codec {facts['codec']!r}, not {codec!r}")
    try:
        built = build(facts["codec"], facts["hyperparameters"])
    except RatewrightError as error:
        raise CheckpointError(f"{path}: {error}") from error
    load_into(built, path)
    built.trained_lmbda = facts.get("lmbda")
    return built.eval(), facts


def load_into(codec: Codec, path: Path, *, further_parts: bool = False) -> None:
    """Copy the weights of a checkpoint into a codec.

    Args:
        codec: the checkpoint's own, or another with parameters of the same names and shapes.
        path: of the checkpoint.
        further_parts: the codec may have parameters that the checkpoint lacks; they stay as they are.

    Raises:
        CheckpointError: the file is not readable, or the weights do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        further = codec.load_state_dict(load_file(path), strict=not further_parts)
        if further.unexpected_keys:
            raise RuntimeError(f"it has no {', '.join(further.unexpected_keys)}")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({one_line(error)})") from error
    except RuntimeError as error:
        reason = one_line(error)[:200]
        raise CheckpointError(f"{path}: the weights do not fit codec {codec.name!r}: {reason}") from error
