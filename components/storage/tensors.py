"""Safetensors files, written atomically and byte-identical for the same content."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ..errors import RatewrightError, one_line
from .atomic import replacing

Writer = Callable[[Any], AbstractContextManager[Path]]
"""Opens a location for writing: yields a temporary path, whose file appears at the location on success only."""


def save_tensors(
    tensors: Mapping[str, Any], location: str | Path, facts: Mapping[str, str], writer: Writer = replacing
) -> None:
    """Write tensors and metadata as one .safetensors file; a file that lies there stays whole until the new one is.

    Args:
        tensors: torch tensors by name, on any device.
        location: a path, or what `writer` takes.
        facts: the metadata of the file's header, stored in the order of its keys.
        writer: how the location is written; `components.storage.locations.storing` also takes s3:// addresses.

    Raises:
        RatewrightError: in one line, where the file cannot be written: a full disk, no permission.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        with writer(location) as temporary:
            save_file(plain, temporary, dict(facts))
            _sort_metadata(temporary)
    except (OSError, SafetensorError) as error:
        raise RatewrightError(f"{location}: cannot be written: {one_line(error)}") from error


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in the header, which safetensors writes in a random order: same content, same bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        if len(text) > size:
            raise OSError("the header is not as safetensors writes it")
        file.seek(8)
        file.write(text)
