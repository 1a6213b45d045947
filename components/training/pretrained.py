"""Weights that others published: one file, fetched, verified by its SHA-256 and copied into a module."""

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from pickle import UnpicklingError
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import torch
from torch import Tensor, nn

from components.errors import CheckpointError, SourceError, one_line
from components.storage.atomic import replacing, sha256_of
from components.storage.sources import open_source


def fetch_weights(location: str, sha256: str, folder: Path) -> Path:
    """The file at `location` (a path, file://, http(s):// or s3://bucket/key), if it has this SHA-256.

    The first eight digits or more will do, as torchvision's file names have them. A local file stays where it is.
    Another comes to lie in `folder` under its hash and its own suffix, and is not fetched again while it does.
    Raises SourceError, in one line, for a file that cannot be had and for a wrong hash; `folder` then holds no more
    than before.
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
        name = unquote(name)  # the source quotes it again
    path = folder / (expected + Path(name).suffix)
    if path.is_file() and sha256_of(path).startswith(expected):
        return path
    with closing(open_source(f"{scheme}://{prefix}")) as source, replacing(path) as temporary:
        source.download(name, temporary)
        _verify(temporary, expected, location)
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or else of one that torch.save wrote, by name, on the CPU.

    Nothing pickled beyond tensors and plain containers is run. Raises CheckpointError for what is unreadable or no
    flat table of tensors.
    """
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise CheckpointError(f"{path}: not a flat table of tensors by name")
    return dict(weights)


def load_into(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Copy the module's whole state from `weights`; what it has no place for, such as a classifier, is ignored.

    Only the counters `num_batches_tracked` of batch normalisation may be missing: files from before they came to be
    lack them. Raises CheckpointError, naming `what`, if another is missing or has another shape; the module is then
    as before.
    """
    state = module.state_dict()
    faults = [fault for key, value in state.items() if (fault := _fault(key, value, weights))]
    if faults:
        raise CheckpointError(f"{what}: {len(faults)} of {len(state)} tensors do not fit, first {faults[0]}")
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
        # torch's own message advises to run the code.
        raise CheckpointError(f"{path}: damaged, or holds code beside tensors, which is not run") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise CheckpointError(f"{path}: not readable weights ({one_line(error)[:200]})") from error


def _verify(path: Path, expected: str, location: str) -> None:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    if not found.startswith(expected):
        raise SourceError(f"{location}: has the wrong content: expected sha256 {expected}, found {found}")
