"""Other values in the text of params.yaml."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from components.errors import RatewrightError


def edited(text: str, values: Mapping[str, Any]) -> str:
    """The text of params.yaml with other values; comments stay.

    Args:
        text: The text before.
        values: The value of each key, such as variants.wcae.train.steps. A key with a leading + is new.

    Raises:
        RatewrightError: The text lacks a key, or has one that is to be new.
    """
    yaml = YAML()
    yaml.width = 120
    document = yaml.load(text)
    for key, value in values.items():
        *above, last = key.removeprefix("+").split(".")
        place = document
        for part in above:
            if key.startswith("+") and isinstance(place, Mapping):
                place.setdefault(part, {})  # type: ignore[attr-defined]
            place = place.get(part) if isinstance(place, Mapping) else None
        if not isinstance(place, Mapping) or (last in place) is key.startswith("+"):
            raise RatewrightError(_fault(key, place))
        place[last] = value  # type: ignore[index]
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _fault(key: str, place: object) -> str:
    name = key.removeprefix("+")
    if not key.startswith("+"):
        known = f"; beside it there are {', '.join(map(str, place))}" if isinstance(place, Mapping) else ""
        return f"params.yaml has no {name}: -S +{name}=... adds it{known}"
    return (
        f"params.yaml has {name} already: leave the + out" if isinstance(place, Mapping) else f"{name}: no such place"
    )
