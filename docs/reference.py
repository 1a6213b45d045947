"""Reference pages generated from the code: the command line, the parameters, the JSON files and credits."""

import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.codecs.table import CODECS, codec_class
from pipeline.cli import app
from pipeline.config.params import Params
from pipeline.documents import DOCUMENTS
from pipeline.paths import CHECKOUT

_NOT_HYPERPARAMETERS = ("self", "args", "kwargs")
_TYPES = {str: "text", int: "integer", bool: "flag"}
_BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}", "pattern": "matches {}"}


def command_line() -> str:
    """A page with every command of `ratewright` and every target of `make`."""
    root = typer.main.get_command(app)
    parts = [
        "# Command line",
        "Every command exits with 0, or with 2 and one line on standard error for a user's mistake.",
    ]
    parts.append(_table(("option", "meaning"), [(_names(each), _help(each)) for each in root.params]))
    for name, command in sorted(getattr(root, "commands", {}).items()):
        usage = " ".join(["ratewright", name, *(str(each.name).upper() for each in _arguments(command))])
        parts += [f"## ratewright {name}", command.help or "", f"```\n{usage} [OPTIONS]\n```"]
        rows = [(f"`{str(each.name).upper()}`", _type(each), _help(each)) for each in _arguments(command)]
        rows += [(_names(each), _type(each), _help(each)) for each in command.params if each not in _arguments(command)]
        if rows:
            parts.append(_table(("argument or option", "type", "meaning"), rows))
    parts += ["## make", "Run these in the checkout.", _table(("target", "does"), _make_targets())]
    return "\n\n".join(parts) + "\n"


def parameters() -> str:
    """A page with every parameter of params.yaml, and the hyperparameters of every codec."""
    intro = (
        "# Parameters\n\n`params.yaml` holds them; `ratewright use PROFILE` writes it. An unknown key or a wrong type "
        "is an error that names the key. A parameter without a default must be given."
    )
    parts = [intro, *(_section(model) for model in _nested(Params)), "## Hyperparameters of the codecs"]
    parts.append("The keys of `variants.<name>.hyperparameters`. [The codecs](../codecs/index.md) say what they mean.")
    for name in CODECS:
        rows = [
            (f"`{each.name}`", f"`{each.default!r}`")
            for each in inspect.signature(codec_class(name)).parameters.values()
            if each.name not in _NOT_HYPERPARAMETERS
        ]
        parts.append(f"### {name}\n\n" + (_table(("hyperparameter", "default"), rows) if rows else "None."))
    return "\n\n".join(parts) + "\n"


def json_files() -> str:
    """A page with every field of every JSON file that stages write."""
    intro = (
        "# JSON files\n\nStages write these files, and programs can rely on them. Their models are in "
        "`pipeline/documents/` and `components/data/`; a file with a wrong key is an error that names it. Where a "
        "figure does not exist, its field is null, and `<field>_why` says why in words. A field that defaults to null "
        "may be left out."
    )
    parts, seen = [intro], set[type[BaseModel]]()
    for path, document in DOCUMENTS.items():
        parts.append(f"## `{path}`")
        new = [model for model in _nested(document) if model not in seen]
        seen.update(new)
        parts += [_section(model, level=3) for model in new]
    return "\n\n".join(parts) + "\n"


def photograph_credits() -> str:
    """A page with the licence and the credit of every picture of open-photographs, each linked to its address."""
    files = json.loads((CHECKOUT / "profiles" / "manifests" / "open-photographs.json").read_text())["files"]
    rows = [(f"[{each['name']}]({each['url']})", _cell(each["license"]), _cell(each["credit"])) for each in files]
    intro = (
        "# Credits of photographs\n\nThe pictures of `open-photographs`, which the profile `real` trains on, with the "
        "licence and the credit that the place which published each gives. None is part of this repository."
    )
    return f"{intro}\n\n{_table(('picture', 'licence', 'credit'), rows)}\n"


def _arguments(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "argument"]


def _names(parameter: Any) -> str:
    return ", ".join(f"`{name}`" for name in parameter.opts)


def _type(parameter: Any) -> str:
    annotation: type = parameter.type_descriptor.annotation
    return _TYPES.get(annotation, annotation.__name__.lower()) + (", required" if parameter.required else "")


def _help(parameter: Any) -> str:
    return _cell(parameter.help or "")


def _make_targets() -> list[tuple[str, str]]:
    found = re.findall(r"^([a-z-]+):.*?## (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    return [(f"`make {name}`", _cell(text)) for name, text in found]


def _nested(model: type[BaseModel]) -> list[type[BaseModel]]:
    """`model` and every model that its fields hold, each once, in the order of the fields."""
    found = [model]
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            found += [each for each in _nested(inner) if each not in found]
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in get_args(annotation) for model in _models_in(each)]


def _section(model: type[BaseModel], level: int = 2) -> str:
    fields = {name: field for name, field in model.model_fields.items() if not name.endswith("_why")}
    rows = [
        (f"`{field.alias or name}`", _annotation(field.annotation) + _bounds(field), _default(field), _meaning(field))
        for name, field in fields.items()
    ]
    about = inspect.cleandoc(model.__doc__ or "")
    return f"{'#' * level} {model.__name__}\n\n{about}\n\n" + _table(("key", "type", "default", "meaning"), rows)


def _annotation(annotation: Any) -> str:
    """A type as Markdown; the name of a model links to its section."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in (None, NoneType):
        return "null"
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin is dict:
        return f"mapping of {_annotation(inner[0])} to {_annotation(inner[1])}"
    if origin in (list, tuple):
        return f"list of {_annotation(inner[0])}"
    if hasattr(annotation, "__metadata__"):
        return _annotation(inner[0])
    if inner:
        return " or ".join(_annotation(each) for each in inner)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return str(getattr(annotation, "__name__", annotation))


def _bounds(field: FieldInfo) -> str:
    limits = [
        _BOUNDS[kind].format(getattr(limit, kind))
        for limit in field.metadata
        for kind in _BOUNDS
        if getattr(limit, kind, None) is not None
    ]
    return "".join(f", {each}" for each in limits)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    return "`null`" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(field: FieldInfo) -> str:
    models = _models_in(field.annotation)
    return _cell(field.description or (models[0].__doc__ if models else "") or "")


def _cell(text: str) -> str:
    """Text for a cell of a table; outside code, `<` is not the begin of a tag."""
    code_or_text = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in code_or_text).replace(
        "|", "\\|"
    )


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows))


PAGES = {
    "reference/command-line.md": command_line,
    "reference/parameters.md": parameters,
    "reference/json-files.md": json_files,
    "reference/photograph-credits.md": photograph_credits,
}
"""Path below docs/ -> the function that writes the page."""


def write(folder: Path) -> None:
    """Write every generated page below `folder`."""
    for path, page in PAGES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(page())
