"""Published weights: a file is fetched, verified by its SHA-256, and its tensors are copied into a module."""

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from pickle import UnpicklingError
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, SourceError, one_line
from ..storage.atomic import replacing, sha256_of
from ..storage.sources import open_source


def fetch_weights(location: str, sha256: str, folder: Path) -> Path:
    """Fetch a file of weights and verify its SHA-256.

    Args:
        location: a path, or a file://, http(s):// or s3://bucket/key address.
        sha256: hash of the file; its first eight digits or more suffice, as in the names of torchvision's files.
        folder: where a remote file is stored, under its hash and its own suffix. It is not fetched again while it is
            there.

    Returns:
        The path of the file. A local file stays where it is.

    Raises:
        SourceError: in one line, for a file that cannot be fetched and for a wrong hash. `folder` then holds no new
            file.
    """
    expected = sha256.lower()
    if not re.fullmatch("[0-9a-f]{8,64}", expected):
        raise SourceError(f"{location}: {sha256!r} is not a SHA-256 (64 hexadecimal digits, or the first 8 at least)")
    scheme, separator, inside = location.partition("://")
    if not separator or scheme.lower() == "file":
        local = Path(url2pathname(urlsplit(location).path)) if separator else Path(location).expanduser()
        if not local.is_file():
            raise SourceError(f"{local}: no such file")
        _verify(local, expected, location)
        return local
    prefix, _, name = inside.rpartition("/")
    if not prefix or not name:
        raise SourceError(f"{location}: names no file")
    if scheme.lower() in ("http", "https"):
        name = unquote(name)  # the source quotes the name again
    path = folder / (expected + Path(name).suffix)
    if path.is_file() and sha256_of(path).startswith(expected):
        return path
    with closing(open_source(f"{scheme}://{prefix}")) as source, replacing(path) as temporary:
        source.download(name, temporary)
        _verify(temporary, expected, location)
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name, on the CPU, from a `.safetensors` file or a file of torch.save.

    Pickled code is never run. Raises CheckpointError for an unreadable file, and for one that is not a flat table of
    tensors.
    """
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise CheckpointError(f"{path}: not a flat table of tensors by name")
    return dict(weights)


def copy_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy the module's whole state from published weights.

    Args:
        module: changed in place.
        weights: tensors by name. Tensors that the module lacks, such as those of a classifier, are ignored. The
            counters `num_batches_tracked` of batch normalisation may be missing, as they are in old files.
        source: where the weights are from, for the error.

    Raises:
        CheckpointError: if another tensor is missing or has another shape; the module is then unchanged.
    """
    state = module.state_dict()
    faults = [fault for key, value in state.items() if (fault := _fault(key, value, weights))]
    if faults:
        raise CheckpointError(f"{source}: {len(faults)} of {len(state)} tensors do not fit, first {faults[0]}")
    module.load_state_dict({key: weights.get(key, value) for key, value in state.items()})


def _fault(key: str, value: Tensor, weights: Mapping[str, Tensor]) -> str | None:
    if key not in weights:
        return None if key.split(".")[-1] == "num_batches_tracked" else f"{key}: missing"
    shape = tuple(weights[key].shape)
    return None if shape == tuple(value.shape) else f"{key}: shape {shape} instead of {tuple(value.shape)}"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not readable weights ({one_line(error)[:200]})") from error
    return weights


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        # torch's own message advises running the code.
        raise CheckpointError(f"{path}: damaged, or contains pickled code, which is not run") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise CheckpointError(f"{path}: not readable weights ({one_line(error)[:200]})") from error


def _verify(path: Path, expected: str, location: str) -> None:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    if not found.startswith(expected):
        raise SourceError(f"{location}: has the wrong content: expected sha256 {expected}, found {found}")
