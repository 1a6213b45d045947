"""What all JSON files that stages write have in common: validation, reading and writing."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from components.errors import RatewrightError
from components.settings import Settings, faults, without_absent
from components.storage.atomic import write_json

Kind = Literal["learned", "baseline", "lossless"]
"""Kind of codec: a learned lossy one, a classic lossy one, or a lossless one, learned or classic."""


class Section(Settings):
    """A JSON object whose keys are checked.

    A field that may be null is always written. A field that defaults to None is left out of the file where it is None:
    it belongs to some kinds of codecs alone, is the reason for a null, or is younger than the file. A figure that is
    null for a reason, which stands beside it, is written.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_absent(dump(self), type(self))


class Document(Section):
    """A JSON file."""

    schema_version: Literal[1] = 1
    """Version of the file's format; a file without one is of version 1."""


AnyModel = TypeVar("AnyModel", bound=BaseModel)
AnySection = TypeVar("AnySection", bound=Section)
Parsed = TypeVar("Parsed")


def read(model: type[AnySection], path: Path) -> AnySection:
    """Read and check a JSON file.

    Args:
        model: What the file must hold.
        path: The file.

    Raises:
        RatewrightError: The file is missing, is not JSON, or has a wrong key; one line that names both.
    """
    return _parse(TypeAdapter(model), text_of(path), str(path))


def read_by_name(model: type[AnySection], path: Path) -> dict[str, AnySection]:
    """Read a JSON object that holds one `model` for each codec. Raises RatewrightError as `read`."""
    by_name: TypeAdapter[dict[str, AnySection]] = TypeAdapter(dict[str, model])  # type: ignore[valid-type]
    return _parse(by_name, text_of(path), str(path))


def read_lists(model: type[AnyModel], path: Path) -> dict[str, list[AnyModel]]:
    """Read a JSON object that holds a list of `model` for each codec. Raises RatewrightError as `read`."""
    by_name: TypeAdapter[dict[str, list[AnyModel]]] = TypeAdapter(dict[str, list[model]])  # type: ignore[valid-type]
    return _parse(by_name, text_of(path), str(path))


def read_lines(model: type[AnyModel], path: Path) -> list[AnyModel]:
    """Read a file with one JSON object a line. Raises RatewrightError as `read`."""
    adapter = TypeAdapter(model)
    return [_parse(adapter, line, f"{path}, line {n}") for n, line in enumerate(text_of(path).splitlines(), 1)]


def write(document: Section, path: Path) -> None:
    """Write a file, whole or not at all, with its keys in the order of the model's fields."""
    write_json(path, document.model_dump())


def write_by_name(documents: dict[str, AnySection], path: Path) -> None:
    """Write a JSON object that holds one document for each codec, whole or not at all."""
    write_json(path, {name: document.model_dump() for name, document in documents.items()})


def text_of(path: Path) -> str:
    """The text of a file. Raises RatewrightError if the file is missing."""
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise RatewrightError(f"{path} is missing: `dvc repro` runs the stage that writes it") from error


def _parse(adapter: TypeAdapter[Parsed], text: str, origin: str) -> Parsed:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise RatewrightError(f"{origin}: {faults(error)}") from error
