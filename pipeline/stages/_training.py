"""What identifies the work of a stage, and the published weights of a training."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.training.config import PublishedWeights
from components.training.pretrained import fetch_weights


def weight_files(files: Mapping[str, PublishedWeights], folder: Path) -> dict[str, str]:
    """The paths of published weights, by the names that the codec defines.

    Args:
        files: Where the files are published.
        folder: Where files that are not here yet are fetched to.

    Raises:
        RatewrightError: A file cannot be fetched, or has the wrong content.
    """
    return {name: str(fetch_weights(file.location, file.sha256, folder)) for name, file in files.items()}


def fingerprint(*parts: Any) -> str:
    """A hash that identifies a training or a measurement: the same parameters, data and start give the same one."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
