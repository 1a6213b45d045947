"""Typed parameters and records: the base class of all that params.yaml and saved states are read into."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
"""A share of a whole, from 0 to 1."""
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """An immutable object whose fields are checked: unknown keys and values of another type are errors.

    The docstring below a field is its description.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)


def faults(error: ValidationError) -> str:
    """Every wrong key of a validation, why it is wrong, and its value, in one line."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']} (got {_brief(fault['input'])})"
        for fault in error.errors()
    )


def without_absent(document: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """A JSON object without the fields that are null because they do not apply.

    A field that must be given stays, and so does one whose reason for being null stands beside it in `<field>_why`.

    Args:
        document: The fields of an object.
        model: Its class.
    """
    optional = {name for name, field in model.model_fields.items() if not field.is_required()}
    return {
        key: value
        for key, value in document.items()
        if value is not None or key not in optional or document.get(f"{key}_why") is not None
    }


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
