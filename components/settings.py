"""Typed parameters and records: the base class of all that params.yaml and saved states are read into."""

from typing import Annotated

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


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
