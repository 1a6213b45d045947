"""Tensors written as .safetensors files, the same bytes for the same content."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import RatewrightError, one_line
from components.storage.atomic import replacing


def save_tensors(tensors: Mapping[str, Any], path: Path, facts: Mapping[str, str]) -> None:
    """Write a .safetensors file, whole or not at all, with `facts` as its metadata.

    Raises RatewrightError, in one line, where it cannot be written: a full disk, no permission.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, dict(facts))
            _order_facts(temporary)
    except (OSError, SafetensorError) as error:
        raise RatewrightError(f"{path}: cannot be written: {one_line(error)}") from error


def _order_facts(path: Path) -> None:
    """Sort the metadata in the header, which safetensors writes in a random order: same content, same bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        if len(text) > size:
            raise OSError("its header is not as safetensors writes it")
        file.seek(8)
        file.write(text)
